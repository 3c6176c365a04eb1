"""Which process started which, and how one ends: when the one that wanted it is gone, and quickly."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

SECONDS_TO_END = 10.0
# A process of another machine can't be seen from here. So long after its start it counts as gone; no stage
# takes a month.
SECONDS_UNSEEN = 30 * 24 * 3600.0


@functools.cache
def this_host() -> str:
    """Where process numbers have the meaning that they have here: host name, boot and PID namespace;
    elsewhere than on Linux the name only.
    """
    boot, namespace = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    try:
        return f"{socket.gethostname()} {boot.read_text().strip()} {namespace.stat().st_ino}"
    except OSError:
        return socket.gethostname()


@dataclass(frozen=True)
class Started:
    """A process, told apart from later ones with the same number by the time when it started.

    Attributes:
        pid: its number.
        started: when, in seconds since 1970.
        host: where that number means it (`this_host`): on a folder that several machines or containers share,
            each has its own.
    """

    pid: int
    started: float
    host: str = field(default_factory=this_host)

    @classmethod
    def this(cls) -> Started:
        """The process that runs this."""
        import psutil

        return cls(os.getpid(), psutil.Process().create_time())

    def alive(self) -> bool:
        """True while it runs; of one of another machine or container, which can't be seen from here, for a
        month from its start.
        """
        import psutil

        if not self.here():
            return not self._rebooted() and time.time() - self.started < SECONDS_UNSEEN
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.started) < 1 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def here(self) -> bool:
        """True if it was started where this process runs, since the last boot: then it can be seen."""
        return self.host == this_host()

    def _rebooted(self) -> bool:
        """True if its machine, told by the name, has started again since."""
        (name, *there), (this_name, *here) = self.host.split(" "), this_host().split(" ")
        return name == this_name and bool(there and here) and there[0] != here[0]


def pipeline_process() -> Started | None:
    """The `dvc` process that this one descends from; None if there is none."""
    import psutil

    for process in psutil.Process().parents():
        if is_dvc(process.pid):
            return Started(process.pid, process.create_time())
    return None


def is_dvc(pid: int) -> bool:
    """True while a process is a DVC command. One that has ended and that nobody has asked for its status is
    none.
    """
    import psutil

    try:
        process = psutil.Process(pid)
        words = [os.path.basename(word) for word in process.cmdline()[:3]]
        return "dvc" in words and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def end_with(starter: Started, say: Callable[[str], None], every: float = 1.0) -> None:
    """End this process soon after `starter` has gone, so that no orphan goes on writing.

    First as if asked to end (SIGTERM), so that the record is closed; after ten seconds without asking, its
    child processes too.
    """

    def watch() -> None:
        while starter.alive():
            time.sleep(every)
        with contextlib.suppress(OSError, ValueError):  # whoever read the output may be gone, too
            say(
                f"process {starter.pid}, which started this one, is gone: ending; what is done so far is kept"
            )
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(SECONDS_TO_END)
        kill_children()
        os._exit(1)

    threading.Thread(target=watch, name="end-with-starter", daemon=True).start()


def kill_children() -> None:
    """Kill everything that this process has started."""
    import psutil

    for child in psutil.Process().children(recursive=True):
        try:
            child.kill()
        except psutil.Error:
            continue


def terminate_as_interrupt() -> None:
    """Make SIGTERM end this process as ctrl-C does: through an exception, so that what is open is closed."""

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt(signal.Signals(signum).name)

    signal.signal(signal.SIGTERM, interrupt)


def leave_garbage() -> None:
    """Leave what a process that is about to end holds to the operating system.

    With Prefect, MLflow and torch loaded, Python's own search for garbage at the end takes more than two
    seconds.
    """
    gc.disable()
    gc.freeze()
