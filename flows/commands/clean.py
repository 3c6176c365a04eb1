"""`ssvh clean`: removing work in progress that nobody is at.

Whoever works in `.work` holds a lock there. All of them are taken before anything is removed, and their files
stay: a process that has opened a lock file and waits for it would otherwise wait for another lock than those
who come later.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

import psutil

from ssvh_model.errors import UserError
from ssvh_model.locks import try_lock
from tasks import paths
from tasks.pipeline.work import IN_USE
from tasks.records.owners import NOTES

COMMAND_SHOWN = 80  # characters


def clean() -> bool:
    """Remove what is in `.work` but its locks, the logs of open pages, and the notes of which MLflow runs are
    open.

    Returns:
        False if there is no such folder.

    Raises:
        UserError: a process uses what would be removed.
    """
    if not paths.WORK.is_dir():
        return False
    with contextlib.ExitStack() as stack:
        # The first one keeps everybody else from beginning.
        locks = [IN_USE, *sorted(path for path in paths.WORK.rglob("*") if _is_lock(path) and path != IN_USE)]
        for path in locks:
            if not stack.enter_context(try_lock(path)):
                raise _used([path])
        opened = {path.resolve() for path in paths.WORK.rglob("*") if not _is_lock(path)} & _opened().keys()
        logs = {path.resolve() for path in paths.WORK.glob("*.log")}
        if at_work := sorted(opened - logs):
            raise _used(at_work)
        _remove_files(paths.WORK, keep=opened)
    return True


def _is_lock(path: Path) -> bool:
    """Whether a file in `.work` is one that processes lock."""
    named = path.suffix == ".lock" or path.name == "lock" or path.parent.name == "locks"
    return named and path.is_file()


def _used(files: Iterable[Path]) -> UserError:
    opened = _opened()
    users = [process for path in files for process in opened.get(path.resolve(), [])]
    who = _shown(users[0]) if users else "another user's process, or one on another machine"
    return UserError(f"{paths.WORK}: is used by {who}; wait until it ends, or end it")


def _opened() -> dict[Path, list[psutil.Process]]:
    """The files that other processes have open, as far as they can be seen."""
    found: dict[Path, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        with contextlib.suppress(psutil.Error):
            for file in process.open_files():
                found.setdefault(Path(file.path), []).append(process)
    return found


def _shown(process: psutil.Process) -> str:
    try:
        command = " ".join(" ".join(process.cmdline()).split())
    except psutil.Error:
        command = "?"
    shown = command if len(command) <= COMMAND_SHOWN else f"{command[: COMMAND_SHOWN - 3]}..."
    return f"process {process.pid} ({shown})"


def _remove_files(folder: Path, *, keep: set[Path]) -> None:
    """Remove what is in a folder but locks, `keep` and `NOTES`, and the folders that are empty then."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            if path != NOTES:
                _remove_files(path, keep=keep)
                with contextlib.suppress(OSError):  # a lock is in there
                    path.rmdir()
        elif not _is_lock(path) and path.resolve() not in keep:
            path.unlink()
