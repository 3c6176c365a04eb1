"""A process of its own that answers one question after the other. Whoever asks stays well, whatever becomes
of it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from ssvh_model.errors import UserError
from tasks.machine.threads import WAITING
from tasks.serving.messages import Arrays, receive, send

NOT_TOLD = ("SSVH_", "MLFLOW_", "PREFECT_", "AWS_", "OPTUNA_", "POSTGRES", "PG")  # variables
Answer = tuple[dict[str, Any], dict[str, np.ndarray]]


class WorkerEnded(Exception):
    """The process ended before it had answered.

    Attributes:
        too_slow: it was ended because its time was over.
    """

    def __init__(self, reason: str, *, too_slow: bool) -> None:
        super().__init__(reason)
        self.too_slow = too_slow


class WorkerProcess:
    """The asking side. The process is started at the first question, and again at the next one after it has
    ended.

    It ends with this process, also when that is killed: its connection is closed then. One question at a
    time: threads wait for each other.

    Args:
        module: what the process runs, with a `serve` of this file in it.
        arguments: for it.

    Attributes:
        stopped: it is not to be started any more.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._command = [sys.executable, "-m", module, *arguments]
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._lock = threading.Lock()
        self.stopped = False

    def ask(self, question: Mapping[str, Any], arrays: Arrays, *, seconds: float) -> Answer:
        """Ask, and wait for the answer.

        Args:
            question: becomes JSON.
            arrays: that go with it.
            seconds: by the clock, after which the process is killed.

        Raises:
            WorkerEnded: the process was killed or ended by itself, or it is not to be started any more.
            UserError: the question is at fault, or what it is about.
        """
        with self._lock:
            process, connection = self._started()
            late = threading.Event()

            def kill() -> None:
                late.set()
                process.kill()

            watchdog = threading.Timer(seconds, kill)
            watchdog.daemon = True
            watchdog.start()
            try:
                send(connection, question, arrays)
                answer, found = receive(connection)
            except (OSError, EOFError, ValueError) as error:
                status = self._end()
                # The system's own limit on processor time ends it, too.
                too_slow = late.is_set() or status == -signal.SIGXCPU
                raise WorkerEnded(
                    "it took too long" if too_slow else f"the process ended with status {status}",
                    too_slow=too_slow,
                ) from error
            finally:
                watchdog.cancel()
        if "error" in answer:
            raise UserError(answer["error"])
        return answer, found

    def rest(self) -> None:
        """End the process until the next question."""
        with self._lock:
            self._end()

    def stop(self) -> None:
        """End the process for good, in the middle of an answer, too."""
        self.stopped = True
        if (process := self._process) is not None:
            process.kill()
        with self._lock:
            self._end()

    def _started(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        if self.stopped:
            raise WorkerEnded("the service is ending", too_slow=False)
        if self._process is None or self._connection is None or self._process.poll() is not None:
            self._end()
            self._connection, theirs = socket.socketpair()
            with theirs:
                number = theirs.fileno()
                self._process = subprocess.Popen(
                    [*self._command, str(number)],
                    pass_fds=[number],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env=_environment(),
                    start_new_session=True,  # ctrl-C is for the service, which ends it in its turn
                )
        return self._process, self._connection

    def _end(self) -> int | None:
        status = None
        if self._process is not None:
            self._process.kill()
            status = self._process.wait()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None
        return status


def _environment() -> dict[str, str]:
    """What the process is told: no addresses of other services, and no passwords."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(NOT_TOLD)}
    return {**kept, **WAITING}


def serve(file: int, answer: Callable[[dict[str, Any], dict[str, np.ndarray]], Answer]) -> None:
    """The answering side: answer questions until nobody is there to ask any more.

    Args:
        file: number of the connection that `WorkerProcess` has given as the last argument.
        answer: makes an answer of a question; a `UserError` goes to whoever asks.
    """
    with socket.socket(fileno=file) as connection, suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            question, arrays = receive(connection)
            try:
                said, found = answer(question, arrays)
            except UserError as error:
                said, found = {"error": str(error)}, {}
            send(connection, said, found)
