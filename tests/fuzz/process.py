"""A worker process from outside: it is asked, watched, ended and started again."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

SECONDS = 10.0  # of processor time that one input may take; more is a hang
# For an input that waits instead of working: other work on the machine must not count as a hang.
SECONDS_BY_THE_CLOCK = 60.0
SECONDS_TO_START = 600.0
INPUTS_OF_A_PROCESS = 2000  # what leaks in libraries must not add up

WORKER = ["-m", "tests.fuzz.worker"]
ENVIRONMENT = {
    "PYTHONDONTWRITEBYTECODE": "1",  # modules that are imported late would write files
    "OMP_NUM_THREADS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
}
CACHES = ("MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "TORCHINDUCTOR_CACHE_DIR")  # of libraries


@dataclass(frozen=True)
class Answer:
    """What became of an input.

    Attributes:
        outcome: accepted, refused or failed.
        text: the line with which it was refused, or what failed.
        seconds: that reading took, by the clock.
    """

    outcome: str
    text: str
    seconds: float


class Reader:
    """Reads inputs of some kinds in a process of its own, which starts at the first input, and again after
    one has ended it.

    Args:
        kinds: what it can read.
        desk: a folder for what it needs itself, and for its log.
    """

    def __init__(self, kinds: Sequence[str], desk: Path) -> None:
        self._kinds = kinds
        self._desk = desk
        self._process: subprocess.Popen[str] | None = None
        self._inputs = 0

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def read(self, kind: str, folder: Path) -> Answer:
        """Have the input in `folder` read."""
        if self._process is None or self._inputs >= INPUTS_OF_A_PROCESS:
            self._end()
            self._start()
        assert self._process is not None and self._process.stdin is not None
        self._inputs += 1
        began = time.monotonic()
        try:
            print(f"{kind}\t{folder}", file=self._process.stdin, flush=True)
            line = self._line()
        except BrokenPipeError:
            line = ""
        if line is None:
            self._process.send_signal(signal.SIGABRT)  # faulthandler tells where it was
        if not line:
            self._process.wait()
            how = (
                "took too long" if line is None else f"ended the process ({_cause(self._process.returncode)})"
            )
            text = f"{how}: {self._log_end()}"
            self._end()
            return Answer("failed", text, time.monotonic() - began)
        return Answer(**json.loads(line))

    def _start(self) -> None:
        self._desk.mkdir(parents=True, exist_ok=True)
        self._log = open(self._desk / "log.txt", "w+")  # noqa: SIM115 - as long as the process
        self._process = subprocess.Popen(
            [sys.executable, *WORKER, str(self._desk), *self._kinds],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=Path(__file__).parents[2],
            env={**os.environ, **ENVIRONMENT, **dict.fromkeys(CACHES, str(self._desk))},
        )
        self._inputs = 0

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._log.close()
        self._process = None

    def _line(self) -> str | None:
        """The answer; empty if the process ended, None if it takes too long."""
        assert self._process is not None and self._process.stdout is not None
        first = self._inputs == 1  # it is importing still
        began, before = time.monotonic(), self._processor_seconds()
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not selector.select(timeout=1.0):
                waited = time.monotonic() - began
                if first:
                    late = waited > SECONDS_TO_START
                else:
                    late = waited > SECONDS_BY_THE_CLOCK or self._processor_seconds() - before > SECONDS
                if late:
                    return None
        return self._process.stdout.readline()

    def _processor_seconds(self) -> float:
        assert self._process is not None
        try:
            times: Any = psutil.Process(self._process.pid).cpu_times()
        except psutil.Error:
            return 0.0
        return float(times.user + times.system)

    def _log_end(self) -> str:
        self._log.flush()
        self._log.seek(0)
        lines = self._log.read().splitlines()
        start = max(
            (n for n, line in enumerate(lines) if "Fatal Python error" in line),
            default=max(0, len(lines) - 12),
        )
        return "\n".join(lines[start : start + 16])


def _cause(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"status {status}"
