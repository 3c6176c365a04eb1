"""What happens to a running command: one of its processes, or all of them, is killed or stopped, or the disk
is full for a while.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import psutil

MARK = "SSVH_CRASH"  # in the environment of everything that the campaign starts
SECONDS_STOPPED = (0.5, 8.0)
SECONDS_FULL = (0.5, 4.0)
BLOCK = 1 << 16


@dataclass(frozen=True)
class Tree:
    """All processes of one started command, whoever their parent is by now.

    Attributes:
        mark: value of the variable `MARK` in their environment.
        root: number of the process that was started.
    """

    mark: str
    root: int

    def processes(self) -> list[psutil.Process]:
        """Those that are alive, oldest first."""
        return sorted(_alive(self.mark), key=lambda process: (process.create_time(), process.pid))

    def having(self, words: tuple[str, ...]) -> list[psutil.Process]:
        """Those with all of `words` among their arguments."""
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                arguments = process.cmdline()
                if all(any(word in argument for argument in arguments) for word in words):
                    found.append(process)
        return found


def _alive(mark: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def everything(tree: Tree, random: Random, folder: Path) -> bool:
    """Kill all at once, as a machine that loses its power."""
    found = tree.processes()
    for process in found:
        _kill(process)
    return bool(found)


def root(tree: Tree, random: Random, folder: Path) -> bool:
    """Kill only the process that was typed, as when its terminal is closed."""
    return _kill_one([one for one in tree.processes() if one.pid == tree.root], random)


def one(tree: Tree, random: Random, folder: Path) -> bool:
    """Kill any one process."""
    return _kill_one(tree.processes(), random)


def all_but_one(tree: Tree, random: Random, folder: Path) -> bool:
    """Kill everything but one process, as a service manager that overlooks one."""
    found = tree.processes()
    random.shuffle(found)
    for process in found[1:]:
        _kill(process)
    return len(found) > 1


def killer_of(*words: str) -> Callable[[Tree, Random, Path], bool]:
    """Kill one of the processes with these words among their arguments."""

    def kill(tree: Tree, random: Random, folder: Path) -> bool:
        return _kill_one(tree.having(words), random)

    return kill


def stopped(tree: Tree, random: Random, folder: Path) -> bool:
    """Stop one process for a while, as a machine that is short of memory does; then let it go on."""
    found = tree.processes()
    if not found:
        return False
    process = random.choice(found)
    with contextlib.suppress(psutil.Error):
        process.suspend()
        time.sleep(random.uniform(*SECONDS_STOPPED))
        process.resume()
    return True


def full_disk(tree: Tree, random: Random, folder: Path) -> bool:
    """Fill the project's disk for a while. Where it is not a small one of its own, nothing happens."""
    if not os.path.ismount(folder):
        return False
    ballast = folder / ".ballast"
    with contextlib.suppress(OSError), open(ballast, "wb", buffering=0) as file:
        while True:
            file.write(bytes(BLOCK))
    time.sleep(random.uniform(*SECONDS_FULL))
    ballast.unlink()
    return True


VICTIMS: dict[str, Callable[[Tree, Random, Path], bool]] = {
    "everything": everything,
    "the root alone": root,
    "any one": one,
    "all but one": all_but_one,
    "the stage": killer_of("tasks.stage"),
    "the flow": killer_of("flows.pipeline"),
    "dvc": killer_of("dvc", "repro"),
    "the Prefect server": killer_of("flows.servers.prefect_process"),
    "a worker": killer_of("prefect", "worker"),
    "a decoder or renderer": killer_of("multiprocessing.spawn"),
    "torchrun": killer_of("torch.distributed.run"),
    "a trainer": killer_of("tasks.training.rank"),
    "a tuning worker": killer_of("flows.tune"),
    "stopped for a while": stopped,
    "full disk": full_disk,
}
# by the service that the command needs, for a while: the campaign stops and starts it
REFUSED = "connections refused"
# What kills nothing of the command.
GENTLE = ("stopped for a while", "full disk", REFUSED)


def _kill_one(found: list[psutil.Process], random: Random) -> bool:
    return bool(found) and _kill(random.choice(found))


def _kill(process: psutil.Process) -> bool:
    try:
        os.kill(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
