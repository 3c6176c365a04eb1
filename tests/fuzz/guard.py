"""Limits for a process that reads fuzzed inputs: its memory, and what it may not do while it reads."""

from __future__ import annotations

import os
import resource
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MEMORY = 2**30  # bytes that one input may cost beside what the process has already
CANARY = "fuzz_canary"  # a module that payloads in inputs ask to import

EXECUTES = (
    *("os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "pty.spawn"),
    *("subprocess.Popen", "pickle.find_class", "ctypes.dlopen"),
    *("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"),
)
CHANGES = (
    *("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"),
    *("os.chmod", "os.chown", "os.utime", "os.setxattr"),
)
OWN_PROCESS = [sys.executable, "-m", "ssvh_model.corpus.mat_table"]  # in which the product reads MATLAB files
OF_CYTHON = (b"_getframe()", "_getframe()")  # how it finds the caller for a traceback
CODE = tuple(
    str(Path(place).resolve())
    for place in {*sysconfig.get_paths().values(), sys.base_prefix, Path(__file__).parents[2]}
)


class Guard:
    """Notes whatever a process does while it reads that reading must not do. Python can't take an audit hook
    away: one guard a process.
    """

    def __init__(self) -> None:
        self._folders: tuple[str, ...] = ()
        self._seen: list[str] = []
        sys.addaudithook(self._hook)

    @contextmanager
    def watching(self, *folders: Path) -> Iterator[list[str]]:
        """What is noted in the block: one text for each thing that was executed, or written outside of
        `folders`.
        """
        self._seen = []
        self._folders = tuple(f"{folder.resolve()}{os.sep}" for folder in folders)
        try:
            yield self._seen
        finally:
            self._folders = ()

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._folders:
            return
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
                self._note_outside(event, path)
        elif event in CHANGES:
            at = [value for value in arguments if isinstance(value, int) and value >= 0]
            for path in arguments:
                if isinstance(path, str | bytes | os.PathLike):
                    self._note_outside(
                        event, path, at[-1] if at and event in ("os.remove", "os.rmdir") else None
                    )
        elif event in EXECUTES and not (
            event == "subprocess.Popen" and list(arguments[1][:3]) == OWN_PROCESS
        ):
            self._seen.append(f"{event} {str(arguments)[:200]}")
        elif event == "import" and CANARY in str(arguments[0]):
            self._seen.append(f"import of {arguments[0]}")
        elif event == "exec" and not _known(arguments[0].co_filename):
            self._seen.append(f"exec of {arguments[0].co_filename}")
        elif event == "compile" and arguments[0] not in OF_CYTHON and not _known(arguments[1]):
            self._seen.append(f"compile of {str(arguments[0])[:200]}")

    def _note_outside(self, event: str, path: Any, folder_descriptor: int | None = None) -> None:
        if isinstance(path, int):
            return
        name = os.fsdecode(path)
        if name == os.devnull:
            return
        if folder_descriptor is not None and not os.path.isabs(name):
            name = os.path.join(os.readlink(f"/proc/self/fd/{folder_descriptor}"), name)
        if not f"{os.path.realpath(name)}{os.sep}".startswith(self._folders):
            self._seen.append(f"{event} {name}")


def _known(file: Any) -> bool:
    """Whether code is of an installed module or of one that is being imported, whose generated classes have
    no file.
    """
    if os.path.realpath(os.fsdecode(file)).startswith(CODE) if isinstance(file, str | bytes) else False:
        return True
    frame = sys._getframe()
    while frame is not None:
        # SQLAlchemy makes methods of its classes out of texts of its own.
        if (
            frame.f_code.co_filename.startswith("<frozen importlib")
            or "/sqlalchemy/" in frame.f_code.co_filename
        ):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def limit_memory() -> None:
    """From now on, the process may have `MEMORY` bytes more than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[5])
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (pages * resource.getpagesize() + MEMORY, most))
