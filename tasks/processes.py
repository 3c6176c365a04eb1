"""Which process started which, and how one ends: when the one that wanted it is gone, and quickly."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

SECONDS_TO_END = 10.0


@dataclass(frozen=True)
class Started:
    """A process, told apart from later ones with the same number by the time when it started."""

    pid: int
    started: float

    @classmethod
    def this(cls) -> Started:
        """The process that runs this."""
        import psutil

        return cls(os.getpid(), psutil.Process().create_time())

    def alive(self) -> bool:
        """True while it runs."""
        import psutil

        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.started) < 1 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


def pipeline_process() -> Started | None:
    """The `dvc` process that this one descends from; None if there is none."""
    import psutil

    for process in psutil.Process().parents():
        try:
            command = [os.path.basename(part) for part in process.cmdline()[:3]]
        except psutil.Error:
            continue
        if "dvc" in command:
            return Started(process.pid, process.create_time())
    return None


def end_with(starter: Started, say: Callable[[str], None], every: float = 1.0) -> None:
    """End this process soon after `starter` has gone, so that no orphan goes on writing.

    First as if asked to end (SIGTERM), so that the record is closed; after ten seconds without asking, its child processes too.
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

    With Prefect, MLflow and torch loaded, Python's own search for garbage at the end takes more than two seconds.
    """
    gc.disable()
    gc.freeze()
