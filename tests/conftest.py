"""Fixtures that more than one test folder uses."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

from tests.postgresql import (  # noqa: F401 - fixtures for all folders
    postgresql,
    prefect_postgresql,
    running_postgresql,
    running_vector_server,
    vector_database,
    vector_server,
)

# Programs that tests start inherit what a shell does for those in its background: ignoring ctrl-C, by which
# tests end them.
with contextlib.suppress(ValueError):  # not the main thread
    signal.signal(signal.SIGINT, signal.default_int_handler)

# They also inherit whether what they import is kept compiled. Where it is not, each of them compiles it
# again, for seconds.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# How long an example takes says something of a machine, and nothing of the code.
settings.register_profile(
    "any-machine", settings(), deadline=None, suppress_health_check=(HealthCheck.too_slow,)
)
settings.load_profile("any-machine")

REPOSITORY = Path(__file__).resolve().parents[1]
# Folders, and a file whose project others need: while it is made, the next process has something else to do.
# Then all others.
SLOWEST_FIRST = ("end_to_end/test_pipeline.py", "crash", "flows", "end_to_end", "fuzz", "tasks")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take minutes come first, so that none of the processes is left with one at the end."""

    def place(item: pytest.Item) -> int:
        path = item.path.relative_to(REPOSITORY / "tests")
        names = (path.as_posix(), path.parts[0])
        return min(
            (SLOWEST_FIRST.index(name) for name in names if name in SLOWEST_FIRST), default=len(SLOWEST_FIRST)
        )

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """What is imported by now stays: the garbage collector need not look at it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_store_of_an_earlier_test() -> Iterator[None]:
    """fsspec keeps a process's connections to S3, whatever the environment says of it by now."""
    yield
    if (s3fs := sys.modules.get("s3fs")) is not None:
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(autouse=True)
def environment_as_before() -> Iterator[None]:
    """What MLflow writes into the process ends with the test: its address, and the folders of the models it
    loads.

    Those folders hold a copy of the packages. A process started later would import them from there.
    """
    environment, path = dict(os.environ), list(sys.path)
    yield
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = path


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real clips and reference values beside the repository; skips where it is missing."""
    folder = REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs the folder {folder}, which is not part of the project")
    return folder


@pytest.fixture(scope="session")
def for_all(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that all test processes share."""
    folder = tmp_path_factory.getbasetemp()
    return folder if worker_id == "master" else folder.parent


@pytest.fixture(scope="session")
def empty_mlflow(for_all: Path) -> Path:
    """MLflow's store with its tables and nothing in them, to copy: making the tables takes seconds."""

    def make(path: Path) -> None:
        from mlflow import MlflowClient

        MlflowClient(f"sqlite:///{path}").search_experiments()

    return made_once(for_all / "mlflow.db", make)


@pytest.fixture(scope="session")
def empty_prefect(for_all: Path) -> Path:
    """The database of a Prefect server that was up once and has seen nothing, to copy: making it takes more
    seconds still.
    """

    def make(path: Path) -> None:
        folder = path.with_suffix(".folder")
        folder.mkdir()
        home = {"PREFECT_HOME": str(folder), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
        known = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
        subprocess.run(
            [sys.executable, "-c", UP_ONCE],
            cwd=folder,
            env={**known, **home, "PYTHONPATH": str(REPOSITORY)},
            check=True,
        )
        with closing(sqlite3.connect(folder / "prefect.db")) as made, closing(sqlite3.connect(path)) as copy:
            made.backup(copy)

    return made_once(for_all / "prefect.db", make)


UP_ONCE = """
from flows.servers.server import prefect_server
with prefect_server():
    pass
"""


def made_once(path: Path, make: Callable[[Path], None]) -> Path:
    """A file that the first test process to need it makes, for all of them."""
    with FileLock(f"{path}.lock"):
        if not path.exists():
            made = path.with_name(f"new-{path.name}")
            make(made)
            made.rename(path)
    return path


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory, empty_prefect: Path) -> Iterator[str]:
    """The address of a Prefect server that all tests share."""
    from flows.servers.server import prefect_server

    folder = tmp_path_factory.mktemp("prefect")
    before, address, home = (
        Path.cwd(),
        os.environ.pop("PREFECT_API_URL", None),
        os.environ.get("PREFECT_HOME"),
    )
    os.chdir(folder)
    os.environ["PREFECT_HOME"] = str(folder / ".prefect")
    (folder / ".prefect").mkdir()
    shutil.copy(empty_prefect, folder / ".prefect/prefect.db")
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    try:
        with prefect_server() as api:
            os.chdir(before)
            os.environ.pop("PREFECT_API_URL")
            yield api
            os.chdir(folder)
    finally:
        os.chdir(before)
        for name, value in (("PREFECT_API_URL", address), ("PREFECT_HOME", home)):
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@pytest.fixture
def task_runs(prefect_api: str) -> Callable[[str], dict[str, Any]]:
    """Ask the server for the task runs of a flow run, by name, once they have come to their end."""
    import time

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    def ask(flow_run: str, expected: int = 2, api: str = prefect_api) -> dict[str, Any]:
        found: dict[str, Any] = {}
        with SyncPrefectClient(api=api) as client:
            until = time.monotonic() + 120
            while time.monotonic() < until:  # the server takes them in by and by
                runs = client.read_task_runs(
                    flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run]))
                )
                found = {run.name: run for run in runs}
                if len(found) == expected and all(run.state and run.state.is_final() for run in runs):
                    break
                time.sleep(0.1)
        return found

    return ask
