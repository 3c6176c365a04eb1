"""Whether a node of a Ray cluster has the code and the packages of the machine that drives it."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from ssvh_model.errors import UserError
from tasks.project.code import code_digest

LIBRARY = "ssvh_model"


def versions_here(packages: Iterable[str]) -> dict[str, str]:
    """Versions of what may change a number, by name: of the packages and of the library's own code."""
    return {
        LIBRARY: code_digest((Path(LIBRARY),)),
        **{name: _version(name) for name in sorted({*packages})},
    }


def check_versions(wanted: Mapping[str, str]) -> None:
    """Compare this node with what `versions_here` gave on the machine that drives.

    Raises:
        UserError: one differs.
    """
    here = versions_here(name for name in wanted if name != LIBRARY)
    for name, version in wanted.items():
        if (found := here[name]) != version:
            raise UserError(
                f"node {socket.gethostname()}: {name} is {found}; allowed is {version}, as on the machine that drives: "
                "results would differ"
            )


def _version(package: str) -> str:
    """Of a package, without what tells builds apart: torch's for processors and for GPUs are of one
    version.
    """
    try:
        return metadata.version(package).partition("+")[0]
    except metadata.PackageNotFoundError:
        return "not installed"
