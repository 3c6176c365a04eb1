"""A flow's connection to MLflow, lent to the processes of its stages.

To import MLflow takes longer than most stages of a small corpus work. The flow has done it, so a stage that a
flow has started asks the flow, over a socket in the flow's folder: a line of JSON each way. A stage that
nobody lends to opens a store of its own.
"""

from __future__ import annotations

import json
import os
import socket
import socketserver
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssvh_model.errors import UserError
from tasks.machine.errors import ServiceAway
from tasks.machine.processes import Started
from tasks.pipeline.flow_folder import FlowFolder
from tasks.records.journal import Entry
from tasks.records.owners import open_owned
from tasks.records.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

SOCKET = "records"
LENT = {
    "make_run",
    "status_of",
    "set_status",
    "tag",
    "log_parameters",
    "log_input",
    "log_artifact",
    "measure_system",
    "send",
}
ERRORS = {error.__name__: error for error in (ServiceAway, UserError)}


@contextmanager
def lend(store: Store, folder: FlowFolder) -> Iterator[None]:
    """Answer stages that ask for the store, while the block runs."""
    path = folder.path / SOCKET

    class Answer(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):  # the stage was killed
                self.wfile.write(json.dumps(_answer(store, self.rfile.readline())).encode() + b"\n")

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True  # one that MLflow keeps waiting must not hold up the end of the flow

    with ExitStack() as stack:
        # The name of the folder may be too long, or the file system may have no sockets.
        with suppress(OSError):
            server = stack.enter_context(Server(str(path), Answer))
            stack.callback(path.unlink, missing_ok=True)
            stack.callback(server.shutdown)
            threading.Thread(
                target=server.serve_forever, args=(0.05,), name="lent-store", daemon=True
            ).start()
        yield


def _answer(store: Store, line: bytes) -> dict[str, Any]:
    try:
        question = json.loads(line)
        if question["name"] == "store":
            return {"result": [store.uri, store.experiment]}
        if question["name"] not in LENT:
            raise ValueError(f"{question['name']} is not lent")
        return {"result": getattr(store, question["name"])(**question["arguments"])}
    except Exception as error:
        return {"error": type(error).__name__, "text": str(error)}


class LentStore:
    """The store of the flow that has started this process, a `RunStore`.

    Attributes:
        uri: where MLflow keeps its records.
        experiment: id of the project's.
    """

    def __init__(self, path: Path, uri: str, experiment: str) -> None:
        self._path = path
        self.uri, self.experiment = uri, experiment

    @classmethod
    def given(cls) -> LentStore | None:
        """That of the flow that has started this process; None if there is none, or it does not lend."""
        folder = FlowFolder.given()
        if folder is None or not (folder.path / SOCKET).exists():
            return None
        path = folder.path / SOCKET
        return cls(path, *_ask(path, "store"))

    @cached_property
    def client(self) -> MlflowClient:
        """MLflow's client, of this process itself: for what is not lent."""
        return Store().client

    def create_run(self, name: str, *, parent: str | None, tags: Mapping[str, str]) -> str:
        """Start a run that lives with this process."""
        return open_owned(
            Started.this(),
            lambda owner: self._ask("make_run", name=name, parent=parent, tags={**tags, **owner}),
        )

    def status_of(self, run: str) -> str | None:
        """As `Store.status_of`."""
        status: str | None = self._ask("status_of", run=run)
        return status

    def set_status(self, run: str, status: str) -> None:
        """As `Store.set_status`."""
        self._ask("set_status", run=run, status=status)

    def tag(self, run: str, tags: Mapping[str, str]) -> None:
        """As `Store.tag`."""
        self._ask("tag", run=run, tags=dict(tags))

    def log_parameters(self, run: str, parameters: Mapping[str, Any]) -> None:
        """As `Store.log_parameters`."""
        self._ask(
            "log_parameters", run=run, parameters={name: str(value) for name, value in parameters.items()}
        )

    def log_input(self, run: str, data_set: Mapping[str, str], context: str) -> None:
        """As `Store.log_input`."""
        self._ask("log_input", run=run, data_set=dict(data_set), context=context)

    def log_artifact(self, run: str, path: str, folder: str | None) -> None:
        """As `Store.log_artifact`."""
        self._ask("log_artifact", run=run, path=os.path.abspath(path), folder=folder)

    def measure_system(self, run: str) -> dict[str, float]:
        """As `Store.measure_system`."""
        measured: dict[str, float] = self._ask("measure_system", run=run)
        return measured

    def send(self, batch: Sequence[Entry]) -> str | None:
        """As `Store.send`."""
        try:
            problem: str | None = self._ask("send", batch=list(batch))
        except ServiceAway as error:
            return str(error)
        return problem

    def _ask(self, what: str, /, **arguments: Any) -> Any:
        return _ask(self._path, what, **arguments)


def _ask(path: Path, what: str, /, **arguments: Any) -> Any:
    try:
        with socket.socket(socket.AF_UNIX) as asked:
            asked.connect(str(path))
            asked.sendall(json.dumps({"name": what, "arguments": arguments}).encode() + b"\n")
            answer = json.loads(asked.makefile("rb").readline())
    except (OSError, ValueError) as error:
        raise ServiceAway("the flow that has started this stage takes no records any more") from error
    if "error" in answer:
        raise ERRORS.get(answer["error"], RuntimeError)(answer["text"])
    return answer["result"]
