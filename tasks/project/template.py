"""The files of a new project, which the package carries. In a clone they are links to the files at its root,
the one place to change them.
"""

from __future__ import annotations

import os
from pathlib import Path

FILES = Path(__file__).parent / "files"
# Before a name that git or DVC would take for their own, wherever they meet the package's folder.
MARK = "_"

PIPELINE = FILES / f"{MARK}dvc.yaml"
PARAMS = FILES / "params.yaml"


def project_files() -> dict[Path, Path]:
    """Where in a project's folder a file goes -> the file."""
    found = {}
    for folder, _, names in os.walk(FILES, followlinks=True):
        for name in names:
            file = Path(folder, name)
            parts = file.relative_to(FILES).parts
            found[Path(*(part.removeprefix(MARK) for part in parts))] = file
    return dict(sorted(found.items()))
