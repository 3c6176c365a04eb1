"""Locks between processes: on files, freed by the system when their holder ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any


@contextmanager
def hold_lock(path: Path, waiting: Callable[[str], None] = lambda holder: None) -> Iterator[None]:
    """Hold a lock; if another process holds it, wait.

    Args:
        path: of the lock's file, made with its folder if needed. It holds the number of the process, for
            people only: another machine or container may read it.
        waiting: is told the number of the process that this one has to wait for.
    """
    with _open(path) as file:
        if not lock_file(file, wait=False):
            file.seek(0)
            waiting(file.read().strip() or "?")
            lock_file(file)
        _sign(file)
        yield


@contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Hold a lock, or yield False at once if another process holds it."""
    with _open(path) as file:
        if mine := lock_file(file, wait=False):
            _sign(file)
        yield mine


def lock_file(file: IO[Any], *, shared: bool = False, wait: bool = True) -> bool:
    """Lock an open file until it is closed or this process ends.

    Args:
        file: opened for writing, because some file systems give locks on nothing else.
        shared: several processes may hold it so at once, and none holds it otherwise.
        wait: until it is free.

    Returns:
        False if it is not free and this was not to wait.
    """
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _open(path: Path) -> IO[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return open(path, "a+")


def _sign(file: IO[str]) -> None:
    with suppress(OSError):  # where the disk is full, nobody is told who holds it
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
