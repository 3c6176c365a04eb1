"""Fixtures that more than one test folder uses."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.postgresql import postgresql  # noqa: F401 - a fixture for all folders

# Programs that tests start inherit what a shell does for those in its background: ignoring ctrl-C, by which tests end them.
with contextlib.suppress(ValueError):  # not the main thread
    signal.signal(signal.SIGINT, signal.default_int_handler)

# They also inherit whether what they import is kept compiled. Where it is not, each of them compiles it again, for seconds.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

REPOSITORY = Path(__file__).resolve().parents[1]
# Folders, and a file whose project others need: while it is made, the next process has something else to do. Then all others.
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
def environment_as_before() -> Iterator[None]:
    """What MLflow writes into the process ends with the test: its address, and the folders of the models it loads.

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
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's store with its tables and nothing in them, to copy: making the tables takes seconds."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
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
