"""Videos in a folder of this machine, before DVC reads it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ssvh_model.errors import UserError
from ssvh_model.files import is_address
from ssvh_model.texts import printable
from tasks import paths
from tasks.params.reading import corpus_path


def check_local_videos() -> None:
    """Make sure that DVC can read the folder of the videos, if `corpus.path` is one. DVC reads all files in
    it, hidden ones, too: at a pipe it waits for ever, at a link that leads nowhere it ends and names no
    cause.

    Raises:
        UserError: something in the folder is no file and no folder.
    """
    folder = corpus_path()
    if is_address(folder) or not Path(folder).is_dir():
        return
    unreadable = _unreadable(folder)
    for path, what in unreadable:
        others = sum(1 for _ in unreadable)
        more = f" ({others} more like it)" if others else ""
        raise UserError(
            printable(
                f"{paths.PARAMS}: corpus.path: {path} is {what}{more}; DVC, which compares all that is in "
                f"{folder}, can't read that: take it out"
            )
        )


def _unreadable(folder: str) -> Iterator[tuple[str, str]]:
    """Path of what is neither a file nor a folder, and what it is. Links to folders are not followed."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            if entry.is_dir(follow_symlinks=False):
                yield from _unreadable(entry.path)
            elif what := _what(entry):
                yield entry.path, what


def _what(entry: os.DirEntry[str]) -> str:
    """What an entry is that DVC can't read, or ""."""
    try:
        entry.name.encode()
        if entry.is_file() or entry.is_dir():
            return ""
        mode = entry.stat().st_mode
    except UnicodeEncodeError:
        return "a file whose name is not in UTF-8"
    except OSError:
        return "a link that leads nowhere"
    return "a pipe" if stat.S_ISFIFO(mode) else "no regular file"
