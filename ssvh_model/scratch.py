"""A folder for what a process needs only while it runs. What killed ones have left is removed by the next.

It is among the temporary ones (`TMPDIR`), beside a lock file that its process holds. The system frees the
lock however the process ends.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO

from ssvh_model.locks import lock_file

PREFIX, LOCK = "ssvh-", ".lock"

_folders: dict[int, tuple[Path, IO[str]]] = {}  # with its lock, by process: a forked one has its own
_making = threading.Lock()


def scratch_folder() -> Path:
    """The folder of this process, which goes when it ends."""
    process = os.getpid()
    with _making:
        if process not in _folders:
            remove_left_behind()
            path, file = _new_lock()
            folder = path.with_suffix("")
            folder.mkdir(mode=0o700)
            _folders[process] = folder, file
            atexit.register(_remove_own, process)
        return _folders[process][0]


def remove_left_behind() -> None:
    """Remove the folders of processes that were killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*{LOCK}"):
        # Others' files can't be opened, and one may be gone by now.
        with suppress(OSError), open(path, "r+") as file:
            if os.fstat(file.fileno()).st_uid == os.geteuid() and lock_file(file, wait=False):
                _remove(path.with_suffix(""))


def _new_lock() -> tuple[Path, IO[str]]:
    while True:
        number, name = tempfile.mkstemp(prefix=PREFIX, suffix=LOCK)
        file = os.fdopen(number, "w")
        lock_file(file)
        if os.path.exists(name):
            return Path(name), file
        file.close()  # who removes what was left behind was faster


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.with_suffix(LOCK).unlink(missing_ok=True)


def _remove_own(process: int) -> None:
    if process == os.getpid():
        _remove(_folders[process][0])
