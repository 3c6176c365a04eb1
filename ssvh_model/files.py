"""Writing files so that a reader sees the old one or the new one, never a part."""

from __future__ import annotations

import csv
import errno
import fnmatch
import glob
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ssvh_model.errors import UserError

# glob pattern of what `atomic_path` leaves when its process is killed; `*.h5` and the like never match it
TEMPORARY = ".*.tmp"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path near `path`; rename it to `path` if the block ends without an exception.

    The data reaches the disk before the rename, so a power cut leaves the old file or the new one. After an
    exception the temporary file is removed and `path` is as it was. Writers of the same path, on whatever
    machine, each have a file of their own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # A folder, so that the file has its own name: PyAV, Pillow and numpy go by it, and whoever looks for such
    # files shall not find it.
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    temporary = folder / path.name
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_temporary(path: Path) -> bool:
    """Whether this is what `atomic_path` leaves when its process is killed, or is at just now."""
    return fnmatch.fnmatchcase(path.name, TEMPORARY)


def remove_temporaries(folder: Path, name: str = "") -> None:
    """Remove what writers of a file that were killed left; for who knows that nobody is writing it just now.

    Args:
        folder: of the file.
        name: of the file; "" for all files in there.
    """
    for leftover in folder.glob(f".{glob.escape(name)}{TEMPORARY[1:]}"):
        shutil.rmtree(leftover, ignore_errors=True)


def check_writable(path: Path) -> None:
    """Make sure, before the work that goes into a file, that `atomic_path` can put it there. Nothing is left.

    Raises:
        UserError: it is a folder, or no file can be made there.
    """
    if os.path.isdir(path):
        raise UserError(f"{path}: a folder; allowed is a file")
    parent = path.absolute().parent
    # The folders below are made when the file is.
    while not os.path.lexists(parent):
        parent = parent.parent
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", suffix=".tmp", dir=parent):
            pass
    except OSError as error:
        raise UserError(f"{path}: can't be written ({error.strerror})") from error


def check_regular(path: Path) -> None:
    """Make sure that a file can be read to its end: a pipe or a device may have none, and whoever opens it
    waits.

    Raises:
        OSError: it is not there, or no regular file.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, content: Any) -> None:
    """Write JSON, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> None:
    """Write a table, atomically; what a row lacks is left empty."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(columns), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def is_address(text: str) -> bool:
    """Whether it is an address of the form scheme://folder, and no path of this machine."""
    return "://" in text
