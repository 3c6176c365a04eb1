"""All that a command has started, found by a variable in the environment, whoever its parent is by now.

The command that a person types, a schedule or a worker runs is the root: it notes itself in `SSVH_ROOT`, which everything that it starts
inherits. When the root is killed, the others end by themselves within seconds (`end_with_root`), and the next command ends at once
what is still there (`end_orphans`).
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.processes import Started, end_with

if TYPE_CHECKING:
    import psutil

VARIABLE = "SSVH_ROOT"
SECONDS_TO_CLOSE_RECORDS = 5.0
SECONDS_TO_DIE = 30.0
ROUNDS = 10


@dataclass(frozen=True)
class Root:
    """The process at the top of a tree.

    Attributes:
        pid, started: of the process, as in `Started`.
        namespace: in which `pid` counts; a container has its own.
        folder: where the command works.
        command: what was typed, for messages.
    """

    pid: int
    started: float
    namespace: str
    folder: str
    command: str

    @classmethod
    def this(cls) -> Root:
        """This process as a root."""
        import psutil

        this, typed = Started.this(), psutil.Process().cmdline()[1:]
        name = " ".join([Path(typed[0]).name, *typed[1:]]) if typed else "python"
        return cls(this.pid, this.started, _namespace(), os.getcwd(), name)

    @classmethod
    def read(cls, text: str | None) -> Root | None:
        """The root that a variable's value names; None for one that no version of this wrote."""
        try:
            return cls(**json.loads(text or ""))
        except (ValueError, TypeError):
            return None

    def alive(self) -> bool:
        """True while it runs; a root that is in another container counts as alive, for nothing can be known of it."""
        return self.namespace != _namespace() or Started(self.pid, self.started).alive()


def name_root() -> bool:
    """Note this process as the root in its environment. False if it belongs to one already."""
    if Root.read(os.environ.get(VARIABLE)) is not None:
        return False
    os.environ[VARIABLE] = json.dumps(asdict(Root.this()))
    return True


@functools.cache
def end_with_root() -> None:
    """End this process soon after its root has gone, also where the root was killed. A second call does nothing."""
    root = Root.read(os.environ.get(VARIABLE))
    if root is not None and root.pid != os.getpid() and root.namespace == _namespace():
        end_with(Started(root.pid, root.started), functools.partial(print, flush=True))


def others_at_work() -> bool:
    """True if something that another command of this folder has started is alive."""
    for _, value in _having(VARIABLE):
        root = Root.read(value)
        if root is not None and root.folder == os.getcwd() and root.pid != os.getpid() and root.alive():
            return True
    return False


def end_orphans(say: Callable[[str], None]) -> None:
    """End what a killed command of this folder has left running: politely, so that records are closed, then for good."""
    import psutil

    orphans: dict[str, list[psutil.Process]] = {}
    for process, value in _having(VARIABLE):
        root = Root.read(value)
        if root is not None and root.folder == os.getcwd() and not root.alive():
            orphans.setdefault(f"{root.command} (process {root.pid})", []).append(process)
    for command, left in orphans.items():
        say(f"{command} was killed; ending the {len(left)} processes that it left")
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.terminate()
        _, stubborn = psutil.wait_procs(left, timeout=SECONDS_TO_CLOSE_RECORDS)
        _kill(stubborn)


def kill_with_variable(name: str, value: str) -> None:
    """Kill every process that was started with this variable in its environment, and wait until all are gone.

    A process that is found may have started another one meanwhile, so that it is looked for again until there is none.
    """
    for _ in range(ROUNDS):
        if not (found := [process for process, has in _having(name) if has == value]):
            return
        _kill(found)


def _kill(processes: list[psutil.Process]) -> None:
    import psutil

    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, timeout=SECONDS_TO_DIE)


def _having(variable: str) -> Iterator[tuple[psutil.Process, str]]:
    """Living processes, this one apart, that were started with a variable in this container, and its value."""
    import psutil

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            value = process.environ().get(variable)
            if (
                value is not None
                and process.pid != os.getpid()
                and process.status() != psutil.STATUS_ZOMBIE
                and _namespace(process.pid) == _namespace()
            ):
                yield process, value


def _namespace(pid: int | str = "self") -> str:
    """In which process ids count: Linux's name for it; "" where there is but one."""
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""
