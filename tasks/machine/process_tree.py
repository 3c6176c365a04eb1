"""All that a command has started, found by a variable in the environment, whoever its parent is by now.

The command that a person types, a schedule or a worker runs is the root: it notes itself in `SSVH_ROOT`,
which everything that it starts inherits. When the root is killed, the others end by themselves within seconds
(`end_with_root`), and the next command ends at once what is still there (`end_orphans`).
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

from tasks.machine.processes import Started, end_with

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
        process: which.
        folder: where the command works.
        command: what was typed, for messages.
    """

    process: Started
    folder: str
    command: str

    @classmethod
    def this(cls) -> Root:
        """This process as a root."""
        import psutil

        typed = psutil.Process().cmdline()[1:]
        name = " ".join([Path(typed[0]).name, *typed[1:]]) if typed else "python"
        return cls(Started.this(), os.getcwd(), name)

    @classmethod
    def read(cls, text: str | None) -> Root | None:
        """The root that a variable's value names; None for one that no version of this wrote."""
        try:
            noted = json.loads(text or "")
            return cls(Started(**noted["process"]), str(noted["folder"]), str(noted["command"]))
        except (ValueError, TypeError, KeyError):
            return None


def name_root() -> bool:
    """Note this process as the root in its environment. False if it belongs to one already."""
    if Root.read(os.environ.get(VARIABLE)) is not None:
        return False
    os.environ[VARIABLE] = json.dumps(asdict(Root.this()))
    return True


@functools.cache
def end_with_root() -> None:
    """End this process soon after its root has gone, also where the root was killed. A second call does
    nothing.
    """
    root = Root.read(os.environ.get(VARIABLE))
    if root is not None and root.process.here() and root.process.pid != os.getpid():
        end_with(root.process, functools.partial(print, flush=True))


def others_at_work() -> bool:
    """True if something that another command of this folder has started is alive."""
    for _, value in _having(VARIABLE):
        root = Root.read(value)
        if root is None or root.folder != os.getcwd() or root.process.pid == os.getpid():
            continue
        if root.process.alive():
            return True
    return False


def end_orphans(say: Callable[[str], None]) -> None:
    """End what a killed command of this folder has left running: politely, so that records are closed, then
    for good.
    """
    import psutil

    orphans: dict[str, list[psutil.Process]] = {}
    for process, value in _having(VARIABLE):
        root = Root.read(value)
        if root is not None and root.folder == os.getcwd() and not root.process.alive():
            orphans.setdefault(f"{root.command} (process {root.process.pid})", []).append(process)
    for command, left in orphans.items():
        say(f"{command} was killed; ending what it left, {len(left)} process{'es' if len(left) > 1 else ''}")
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.terminate()
        _, stubborn = psutil.wait_procs(left, timeout=SECONDS_TO_CLOSE_RECORDS)
        _kill(stubborn)


def kill_with_variable(name: str, value: str) -> None:
    """Kill every process that was started with this variable in its environment, and wait until all are gone.

    A process that is found may have started another one meanwhile, so that it is looked for again until there
    is none.
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
    """Living processes, this one apart, that were started with a variable, and its value."""
    import psutil

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            value = process.environ().get(variable)
            there = process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE
            if value is not None and there:
                yield process, value
