"""Videos that are no folder of this machine, but where fsspec reaches them, such as s3://bucket/videos."""

from __future__ import annotations

from ssvh_model.errors import UserError
from ssvh_model.files import is_address
from ssvh_model.remote_folder import RemoteFolder, StorageAway
from tasks import paths
from tasks.machine.errors import ServiceAway
from tasks.params.reading import read_yaml


def check_remote_videos() -> None:
    """Make sure that the address of the videos can be looked at, if `corpus.path` is one: DVC, which lists
    it, would say less.

    Raises:
        UserError: there is no such folder, the package of its storage is missing, or nobody has told who
            asks.
        ServiceAway: it does not answer.
    """
    corpus = read_yaml(paths.PARAMS).get("corpus")
    address = str(corpus.get("path")) if isinstance(corpus, dict) else ""
    if not is_address(address):
        return
    try:
        RemoteFolder(address.rstrip("/")).check()
    except StorageAway as error:
        raise ServiceAway(f"{paths.PARAMS}: corpus.path: {error}") from error
    except UserError as error:
        raise UserError(f"{paths.PARAMS}: corpus.path: {error}") from error
