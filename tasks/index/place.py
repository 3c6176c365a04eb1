"""Where the index is."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ssvh_model.errors import UserError
from ssvh_model.index.postgres.database import is_address
from tasks import paths

if TYPE_CHECKING:
    from tasks.params.sections import Params

ADDRESS = "SSVH_INDEX_URL"


def index_place(params: Params) -> str:
    """A folder or the address of a database, as `open_index` has it: that of SSVH_INDEX_URL, or that of
    params.yaml.

    Raises:
        UserError: there is no address of the database.
    """
    if address := os.environ.get(ADDRESS):
        return address
    if params.index.backend == "folder":
        return str(paths.INDEX)
    if not params.index.url:
        raise UserError(
            f"index.backend is 'postgres', but index.url is empty and {ADDRESS} is not set; one of them must say where the database is"
        )
    return params.index.url


def present_index_place() -> str:
    """The same for commands that need no params.yaml; it counts where there is one.

    Raises:
        UserError: params.yaml is at fault, or there is no address of the database.
    """
    if address := os.environ.get(ADDRESS):
        return address
    if not paths.PARAMS.is_file():
        return str(paths.INDEX)
    # Checking all of it takes a fifth of a second, which most searches can do without; what can't be read is
    # named by the check.
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if not re.search(r"\bbackend\W+postgres", paths.PARAMS.read_text(encoding="utf-8")):
            return str(paths.INDEX)
    from tasks.params.load import load_params

    return index_place(load_params(paths.PARAMS))


def local_folder(place: str | Path) -> Path:
    """Where this machine keeps what is about an index but not in it: decisions about duplicates, and uploaded
    files.
    """
    return paths.INDEX if is_address(place) else Path(place)
