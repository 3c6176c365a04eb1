"""The pages that `ssvh ui` starts, and what of their addresses others can see."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import IO

import psutil
import pytest

from flows.servers.server import HOST
from tasks.machine.services import answers
from tests.flows.conftest import Project
from tests.postgresql import PostgreSQL
from tests.services import mlflow_service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

UI = "from flows.servers.ui import ui; ui()"
SECRET = "open-sesame"


@contextmanager
def pages(project: Project, **environment: str) -> Iterator[tuple[dict[str, str], list[list[str]]]]:
    """What `ssvh ui` shows, a line a page, and the commands of all its processes."""
    process = subprocess.Popen(
        [sys.executable, "-c", UI],
        cwd=project.folder,
        env={**project.environment, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    lines: Queue[str] = Queue()
    threading.Thread(target=_hand_on, args=(process.stdout, lines), daemon=True).start()
    shown = []
    try:
        while "ctrl-C" not in (line := lines.get(timeout=300)):
            assert line, f"{''.join(shown)} {logs(project.folder)}"
            shown.append(line)
        found = dict(re.findall(r"^  (\w+) +(\S+)$", "".join(shown), re.MULTILINE))
        commands = []
        for one in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                commands.append(one.cmdline())
        yield found, commands
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=120)


def _hand_on(output: IO[str], lines: Queue[str]) -> None:
    for line in output:
        lines.put(line)
    lines.put("")


def logs(folder: Path) -> str:
    return "".join(path.read_text()[-2000:] for path in folder.glob(".work/*.log"))


@pytest.mark.nightly
def test_an_mlflow_server_elsewhere_is_shown_and_none_started(
    stub_project: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (stub_project.folder / "mlflow.db").unlink()
    server, address = mlflow_service(tmp_path_factory.mktemp("mlflow"))
    try:
        server.start()
        with_password = address.replace("://", f"://someone:{SECRET}@")
        with pages(stub_project, MLFLOW_TRACKING_URI=with_password) as (shown, commands):
            assert shown["MLflow"] == address
            assert not [command for command in commands if "mlflow" in command]
            assert answers(shown["Optuna"])
            assert answers(shown["Prefect"])
    finally:
        server.stop()
    assert not (stub_project.folder / "mlflow.db").exists()


@pytest.mark.nightly
def test_no_password_of_a_database_shows_among_the_processes(
    stub_project: Project, prefect_postgresql: PostgreSQL
) -> None:
    addresses = {
        "MLFLOW_TRACKING_URI": prefect_postgresql.create("ui_mlflow"),
        "OPTUNA_STORAGE": prefect_postgresql.create("ui_optuna"),
        "PREFECT_API_DATABASE_CONNECTION_URL": prefect_postgresql.create("ui_prefect").replace(
            "psycopg", "asyncpg"
        ),
    }
    secret = {name: value.replace("postgres@", f"postgres:{SECRET}@") for name, value in addresses.items()}
    assert all(SECRET in value for value in secret.values())
    (stub_project.folder / "mlflow.db").unlink()
    with pages(stub_project, **secret) as (shown, commands):
        assert all(answers(page) for page in shown.values()) and len(shown) == 3
        assert not [command for command in commands if SECRET in " ".join(command)]
        assert any("mlflow" in command for command in commands)
    assert not list(stub_project.folder.glob("*.db"))


def test_the_embedded_databases_are_made(stub_project: Project) -> None:
    (stub_project.folder / "mlflow.db").unlink()
    with pages(stub_project) as (shown, _):
        assert all(page.startswith(f"http://{HOST}:") and answers(page) for page in shown.values())
    assert (stub_project.folder / "mlflow.db").stat().st_size
    assert (stub_project.folder / "optuna.db").stat().st_size
    assert (stub_project.folder / ".prefect/prefect.db").stat().st_size
    assert os.listdir(stub_project.folder / ".work")
