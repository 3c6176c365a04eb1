"""Starting programs so that they and all that they start end with this process, however it ends."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO, Any

SECONDS_TO_END = 20.0
PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux's prctl


def start(
    command: Sequence[str], *, extra: Mapping[str, str], output: IO[Any] | None = None
) -> subprocess.Popen[bytes]:
    """Start a program in a process group of its own.

    Args:
        command: the program and its arguments.
        extra: variables to add to the environment.
        output: takes what it prints; None leaves it on this process's output.
    """
    return subprocess.Popen(
        list(command),
        env={**os.environ, **extra},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output is not None else None,
        start_new_session=True,
        preexec_fn=_begin,
    )


def run(command: Sequence[str], *, extra: Mapping[str, str]) -> int:
    """Run a program to its end and return its exit status; whatever interrupts this ends the program's whole
    group.
    """
    process = start(command, extra=extra)
    try:
        return process.wait()
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a program and everything in its group: politely first, for good after a while."""
    for sign, patience in ((signal.SIGINT, SECONDS_TO_END), (signal.SIGKILL, SECONDS_TO_END)):
        if process.poll() is not None:
            break
        _signal_group(process, sign)
        try:
            process.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            continue
    _signal_group(process, signal.SIGKILL)


def _signal_group(process: subprocess.Popen[bytes], sign: signal.Signals) -> None:
    try:
        os.killpg(process.pid, sign)
    except (ProcessLookupError, PermissionError):
        return


def _begin() -> None:
    # A shell that starts this program in the background has it ignore ctrl-C, which is inherited; `stop`
    # would wait for nothing.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform == "linux":
        _end_with_parent()


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGTERM)
