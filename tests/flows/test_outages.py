"""MLflow and Prefect killed while a stage works, and started again: real servers, real kills."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import SyncPrefectClient

from tests.flows.conftest import Project
from tests.services import Service, mlflow_service, prefect_service

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("outages"), pytest.mark.timeout(1200)]

SECONDS_AWAY = 10
EPOCHS = 300  # a tenth of a second each: three times as long as the outage


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[Service], dict[str, str]]]:
    """MLflow's and Prefect's servers, and where they are."""
    folder = tmp_path_factory.mktemp("services")
    (mlflow, tracking), (prefect, api) = mlflow_service(folder), prefect_service(folder)
    try:
        yield (
            [mlflow.start(), prefect.start()],
            {"MLFLOW_TRACKING_URI": tracking, "PREFECT_API_URL": api},
        )
    finally:
        mlflow.stop()
        prefect.stop()


def wait_until(reached: Path, epoch: int) -> None:
    until = time.monotonic() + 250
    while not reached.exists() or int(reached.read_text() or 0) < epoch:
        assert time.monotonic() < until, f"epoch {epoch} was never reached"
        time.sleep(0.05)


def test_training_goes_on_while_both_servers_are_away_and_no_metric_is_missing_afterwards(
    stub_project: Project, services: tuple[list[Service], dict[str, str]]
) -> None:
    servers, addresses = services
    stub_project.behave("first", "long")
    (stub_project.folder / "epochs").write_text(str(EPOCHS))
    reached = stub_project.folder / "reached"
    flow = stub_project.start("flows.pipeline", **addresses)
    try:
        wait_until(reached, 20)
        for server in servers:
            server.kill()
        before = int(reached.read_text())
        time.sleep(SECONDS_AWAY)
        trained = int(reached.read_text()) - before
        for server in servers:
            server.start()
        output, _ = flow.communicate(timeout=300)
    finally:
        flow.kill()
    assert flow.returncode == 0, output
    assert trained > 0.5 * SECONDS_AWAY / 0.1, "training waits for nobody"
    assert "the work goes on" in output

    client = MlflowClient(addresses["MLFLOW_TRACKING_URI"])
    run = stub_project.record("first")["run_id"]
    history = client.get_metric_history(run, "long")
    assert [(metric.step, metric.value) for metric in history] == [(epoch, epoch) for epoch in range(EPOCHS)]
    assert client.get_run(run).info.status == "FINISHED"
    assert client.get_run(stub_project.record("first")["parent_run_id"]).info.status == "FINISHED"
    assert not list((stub_project.folder / ".unsent").glob("*"))

    # Prefect has heard the end of everything, too.
    tags = client.get_run(run).data.tags
    with SyncPrefectClient(api=addresses["PREFECT_API_URL"]) as prefect:
        assert prefect.read_flow_run(tags["ssvh.prefect_flow_run"]).state.is_completed()
        until = time.monotonic() + 250
        while not (state := prefect.read_task_run(tags["ssvh.prefect_task_run"]).state).is_final():
            assert time.monotonic() < until, state
            time.sleep(0.5)
        assert state.is_completed()
