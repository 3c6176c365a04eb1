"""MLflow and Prefect killed while a stage works, and started again: real servers, real kills."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import SyncPrefectClient

from tests.flows.conftest import FUNCTION, Project
from tests.services import Service, mlflow_service, prefect_service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

EPOCHS = 400  # a tenth of a second each, or more
REGISTER = """
stages:
  register:
    cmd: python stub.py register
    params: [seed]
    outs: [out/register, runs/register.json]
"""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[Service], dict[str, str]]]:
    """MLflow's and Prefect's servers, and where they will be."""
    folder = tmp_path_factory.mktemp("services")
    (mlflow, tracking), (prefect, api) = mlflow_service(folder), prefect_service(folder)
    try:
        yield [mlflow, prefect], {"MLFLOW_TRACKING_URI": tracking, "PREFECT_API_URL": api}
    finally:
        mlflow.stop()
        prefect.stop()


@pytest.fixture
def services(servers: tuple[list[Service], dict[str, str]]) -> tuple[list[Service], dict[str, str]]:
    """The same, running, whatever an earlier test has left of them."""
    for server in servers[0]:
        if not server.runs:
            server.start()
    return servers


def wait_until(flow: subprocess.Popen[str], reached: Path, epoch: int) -> None:
    until = time.monotonic() + 300
    while not reached.exists() or int(reached.read_text()) < epoch:
        assert flow.poll() is None, flow.communicate()[0]
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
        wait_until(flow, reached, 20)
        for server in servers:
            server.kill()
        before = int(reached.read_text())
        assert flow.stdout is not None
        said = ""
        while "the work goes on" not in said:
            said += (read := flow.stdout.readline())
            assert read, said
        wait_until(flow, reached, before + 50)  # training waits for nobody
        assert flow.poll() is None
        for server in servers:
            server.start()
        output = said + flow.communicate(timeout=400)[0]
    finally:
        flow.kill()
    assert flow.returncode == 0, output

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


@pytest.mark.nightly
def test_a_prefect_server_that_has_gone_is_waited_for_by_one_stage(
    stub_project: Project, services: tuple[list[Service], dict[str, str]]
) -> None:
    (_, prefect), addresses = services
    stub_project.change("wait_for_services: 300", "wait_for_services: 5")
    stub_project.behave("first", "long")
    (stub_project.folder / "epochs").write_text("1000")
    flow = stub_project.start("flows.pipeline", **addresses, PREFECT_CLIENT_MAX_RETRIES="1")
    try:
        wait_until(flow, stub_project.folder / "reached", 5)
        prefect.kill()
        (stub_project.folder / "enough").touch()
        assert flow.stdout is not None
        said = ""
        while "Task run 'second' - Finished in state Completed()" not in said:
            said += (read := flow.stdout.readline())
            assert read, said
    finally:
        flow.kill()
        prefect.start()
    assert said.count("waiting for it, up to 5 s") == 1
    assert said.count("still away: the work goes on, and stages that follow don't wait for it") == 1
    assert all((stub_project.folder / f"out/{name}").is_file() for name in ("first", "second"))


@pytest.mark.nightly
def test_stages_that_went_well_end_well_without_mlflow_and_promotion_is_tried(
    stub_project: Project, services: tuple[list[Service], dict[str, str]]
) -> None:
    (mlflow, _), addresses = services
    (stub_project.folder / "dvc.yaml").write_text(REGISTER)
    # Before the stage of that name, after which the flow goes on to promotion.
    stub = stub_project.folder / "stub.py"
    stub.write_text(stub.read_text().replace("append(", "insert(0, "))
    (stub_project.folder / "stubs/register.py").write_text(FUNCTION.format(name="register"))
    stub_project.change("wait_for_services: 300", "wait_for_services: 2")
    stub_project.change("after_training: false", "after_training: true")
    stub_project.behave("register", "long")
    (stub_project.folder / "epochs").write_text("100")
    flow = stub_project.start("flows.pipeline", **addresses, MLFLOW_HTTP_REQUEST_MAX_RETRIES="1")
    try:
        wait_until(flow, stub_project.folder / "reached", 20)
        mlflow.kill()
        output, _ = flow.communicate(timeout=400)
    finally:
        flow.kill()
        mlflow.start()
    assert flow.returncode == 0, output
    assert "Traceback" not in output
    assert "promotion: MLflow at" in output and "does not answer; the champion stays as it is" in output

    client = MlflowClient(addresses["MLFLOW_TRACKING_URI"])
    run = stub_project.record("register")["run_id"]
    parent = stub_project.record("register")["parent_run_id"]
    tags = client.get_run(parent).data.tags
    with SyncPrefectClient(api=addresses["PREFECT_API_URL"]) as prefect:
        assert prefect.read_flow_run(tags["ssvh.prefect_flow_run"]).state.is_completed()
    assert list((stub_project.folder / ".unsent").glob("*.jsonl"))

    # The next run has nothing to do but that.
    status, output = stub_project.run("flows.cli", "run", **addresses)
    assert status == 0, output
    assert output.startswith("nothing to do")
    assert [client.get_run(one).info.status for one in (run, parent)] == ["FINISHED", "FINISHED"]
    assert client.get_run(parent).data.tags["ssvh.stage.register"] == f"ran {run}"
    assert not list((stub_project.folder / ".unsent").glob("*.jsonl"))
