"""A Prefect server on this machine, with its records in the project's folder."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from flows.running.open_runs import close_open_runs
from ssvh_model.errors import UserError
from ssvh_model.files import atomic_path
from tasks import paths
from tasks.machine import programs
from tasks.machine.process_tree import others_at_work
from tasks.machine.processes import Started, this_host
from tasks.machine.services import answers
from tasks.records.databases import half_made_copies

HOST = "127.0.0.1"
SECONDS_TO_START = 120.0
SECONDS_BETWEEN_LOOKS = 1.0
NOTE = paths.PREFECT_HOME / "server.json"
LOG = paths.PREFECT_HOME / "server.log"


def free_port(preferred: int = 0) -> int:
    """`preferred` if nothing listens there, else a port that is free."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise UserError(f"no port is free on {HOST}")


def running_server() -> str | None:
    """The API address of a server that another command of this project keeps up; None if there is none."""
    if not NOTE.is_file():
        return None
    noted = json.loads(NOTE.read_text())
    process = Started(noted["pid"], noted["started"], noted.get("host", this_host()))
    # A server of another machine that shares this folder listens there only.
    alive = process.here() and process.alive()
    return str(noted["api"]) if alive and answers(f"{noted['api']}/health") else None


@contextmanager
def prefect_server(preferred_port: int = 0) -> Iterator[str]:
    """The API address of a Prefect server: the one of `PREFECT_API_URL`, one that runs already, or one for
    this block.

    The variable is set within the block.

    Raises:
        UserError: the server does not start; the message names its log.
    """
    if address := os.environ.get("PREFECT_API_URL") or running_server():
        os.environ["PREFECT_API_URL"] = address
        yield address
        return
    port = free_port(preferred_port)
    api = f"http://{HOST}:{port}/api"
    print(f"starting a Prefect server on {HOST}, port {port}", flush=True)
    paths.PREFECT_HOME.mkdir(exist_ok=True)
    database = Path(os.environ.get("PREFECT_HOME", paths.PREFECT_HOME)) / "prefect.db"
    before = half_made_copies(database)
    server = _Server(api, port)
    try:
        began = time.monotonic()
        while not answers(f"{api}/health"):
            if server.process.poll() is not None or time.monotonic() - began > SECONDS_TO_START:
                raise UserError(f"the Prefect server did not start; {LOG} says why")
            time.sleep(0.2)
        for copy in half_made_copies(database) - before:
            print(
                f"Prefect's database was left half made; it is kept as {copy}, and a new one is made",
                flush=True,
            )
        server.keep_up()
        if not others_at_work():
            close_open_runs(api)
        os.environ["PREFECT_API_URL"] = api
        yield api
    finally:
        os.environ.pop("PREFECT_API_URL", None)
        server.stop()


class _Server:
    """A server's process, which is started again should it die; what it knows is in its database."""

    def __init__(self, api: str, port: int) -> None:
        self._api = api
        where = ["--host", HOST, "--port", str(port)]
        self._command = [sys.executable, "-m", "flows.servers.prefect_process", *where]
        self._ended = threading.Event()
        self._keeper: threading.Thread | None = None
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with open(LOG, "ab") as log:
            return programs.start(self._command, extra={"PREFECT_API_URL": self._api}, output=log)

    def keep_up(self) -> None:
        """Note the process for other commands of this project, and start it again whenever it has died."""
        self._note()
        self._keeper = threading.Thread(target=self._keep, name="prefect-server", daemon=True)
        self._keeper.start()

    def _note(self) -> None:
        with atomic_path(NOTE) as temporary:
            started = psutil.Process(self.process.pid).create_time()
            noted = {"api": self._api, "pid": self.process.pid, "started": started, "host": this_host()}
            temporary.write_text(json.dumps(noted))

    def _keep(self) -> None:
        while not self._ended.wait(SECONDS_BETWEEN_LOOKS):
            if self.process.poll() is not None:
                print(f"the Prefect server has ended, {LOG} may say why; starting it again", flush=True)
                self.process = self._start()
                self._note()

    def stop(self) -> None:
        """End it for good."""
        self._ended.set()
        if self._keeper is not None:
            self._keeper.join()
        programs.stop(self.process)
        NOTE.unlink(missing_ok=True)
