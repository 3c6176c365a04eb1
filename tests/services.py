"""Real servers that a test can kill and start again, on a free port of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from flows.running.environment import NO_JOBS
from flows.servers.server import HOST, free_port
from tasks.machine import programs
from tasks.machine.services import answers

SECONDS_TO_START = 250


@dataclass
class Service:
    """A server that keeps its port and its data over a kill."""

    command: list[str]
    health: str
    log: Path
    extra: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> Service:
        """Start the server and wait until it answers."""
        self.begin()
        self.await_answer()
        return self

    def begin(self) -> None:
        """Start the server."""
        with open(self.log, "ab") as log:
            self.process = programs.start(self.command, extra=self.extra, output=log)

    def await_answer(self) -> None:
        until = time.monotonic() + SECONDS_TO_START
        while not answers(self.health):
            assert self.runs and time.monotonic() < until, self.log.read_text()[-2000:]
            time.sleep(0.2)

    def kill(self) -> None:
        """As a power cut would end it: all of its processes at once."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None:
            programs.stop(self.process)


def mlflow_service(
    folder: Path, *, extra: dict[str, str] | None = None, embedded: bool = True
) -> tuple[Service, str]:
    """An MLflow server and its address; records and artifacts in `folder`, or, not `embedded`, where
    variables in `extra` say.
    """
    port = free_port()
    address = f"http://{HOST}:{port}"
    command = [sys.executable, "-m", "mlflow", "server"]
    if embedded:
        command += ["--backend-store-uri", f"sqlite:///{folder}/server.db"]
        command += ["--artifacts-destination", str(folder / "artifacts")]
    command += ["--host", HOST, "--port", str(port), "--workers", "1"]
    settings = {**NO_JOBS, **(extra or {})}
    return Service(command, f"{address}/health", folder / "mlflow-server.log", settings), address


def prefect_service(folder: Path, *, extra: dict[str, str] | None = None) -> tuple[Service, str]:
    """A Prefect server and its API's address."""
    port = free_port()
    api = f"http://{HOST}:{port}/api"
    settings = {
        "PREFECT_API_URL": api,
        "PREFECT_HOME": str(folder / "prefect-server"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        **(extra or {}),
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port)]
    return Service(command, f"{api}/health", folder / "prefect-server.log", settings), api


def s3_service(folder: Path) -> tuple[Service, str]:
    """An S3 server without any bucket, and its address."""
    port = free_port()
    address = f"http://{HOST}:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)]
    return Service(command, address, folder / "s3.log"), address


@contextmanager
def asked_s3(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """An S3 server with the empty bucket `corpus`, which this process asks and gives up at once."""
    import boto3

    server, address = s3_service(folder)
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    try:
        server.start()
        boto3.client("s3").create_bucket(Bucket="corpus")
        yield server
    finally:
        server.stop()
