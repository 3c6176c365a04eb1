"""Paths of files in an index: relative to its project's folder, from wherever it is used."""

from __future__ import annotations

import os
from pathlib import Path

from ssvh_model.files import is_address

PROJECT = "params.yaml"  # is in a project's folder


def project_of(index: str | os.PathLike[str]) -> Path:
    """The folder that relative paths of an index start from: the nearest one above it that is a project's, or
    the current one where that is nearer or there is none, as for an index in a database.

    Args:
        index: its folder or address.
    """
    here = Path.cwd()
    if not is_address(str(index)):
        for folder in Path(os.path.abspath(index)).parents:
            if folder == here or (folder / PROJECT).is_file():
                return folder
    return here


def path_in_index(name: Path | str, project: Path | None = None) -> str:
    """A path as an index keeps it: relative to the project's folder where it is inside; an address as it is.

    Args:
        name: the path, from the current folder if it is relative, or address.
        project: its folder (`project_of`); None for the current one.
    """
    if is_address(str(name)):
        return str(name)
    # Of a link to itself that too, which `Path.resolve` does not like.
    whole, project = Path(os.path.realpath(name)), (project or Path.cwd()).resolve()
    return whole.relative_to(project).as_posix() if whole.is_relative_to(project) else whole.as_posix()


def file_of_path(path: str, project: Path) -> str:
    """Where the file of a path in an index is; an address, and "" for none, as they are.

    Args:
        path: as the index keeps it.
        project: that relative ones start from (`project_of`).
    """
    return path if not path or is_address(path) else str(project / path)
