"""The flow, `dvc repro` and the records that both leave, with real services."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient

from tests.flows.conftest import Project


def parents(runs: list[Any]) -> list[Any]:
    return [run for run in runs if "mlflow.parentRunId" not in run.data.tags]


def children(runs: list[Any], parent: Any) -> list[Any]:
    return [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]


HEAVY = """
import sys, flows.pipeline
print(sorted({"torch", "mlflow", "numpy", "pandas", "h5py", "dvc", "optuna"} & set(sys.modules)))
"""


def test_to_show_the_stages_the_flow_imports_nothing_of_what_they_work_with() -> None:
    done = subprocess.run([sys.executable, "-c", HEAVY], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_flow_runs_what_is_out_of_date_and_shows_the_rest_as_cached(
    stub_project: Project, prefect_api: str, task_runs: Callable[[str], dict[str, Any]]
) -> None:
    status, output = stub_project.run("flows.pipeline", PREFECT_API_URL=prefect_api)
    assert status == 0, output
    assert (stub_project.folder / "out/second").read_text() == "second 1"

    (parent,) = parents(stub_project.runs())
    stages = children(stub_project.runs(), parent)
    assert parent.info.status == "FINISHED"
    assert [(run.info.run_name, run.info.status) for run in stages] == [
        ("first", "FINISHED"),
        ("second", "FINISHED"),
    ]
    # Lineage: from a stage's MLflow run to its Prefect runs, and from these to the logs.
    flow_run = parent.data.tags["ssvh.prefect_flow_run"]
    ran = task_runs(flow_run)
    assert {name: run.state_name for name, run in ran.items()} == {
        "first": "Completed",
        "second": "Completed",
    }
    for run in stages:
        assert run.data.tags["ssvh.prefect_flow_run"] == flow_run
        assert run.data.tags["ssvh.prefect_task_run"] == str(ran[run.info.run_name].id)
    assert stages[0].data.params["seed"] == "1"
    assert stages[1].data.tags["ssvh.input.out/first"]
    with SyncPrefectClient(api=prefect_api) as client:
        lines = [log.message for log in client.read_logs()]
    assert "stub second has run" in lines

    # A parameter of the second stage alone.
    stub_project.change("epochs: 15", "epochs: 16")
    status, output = stub_project.run("flows.pipeline", PREFECT_API_URL=prefect_api)
    assert status == 0, output
    _, parent = parents(stub_project.runs())
    names = {
        name: run.state_name for name, run in task_runs(parent.data.tags["ssvh.prefect_flow_run"]).items()
    }
    assert names == {"first": "Cached", "second": "Completed"}
    assert [run.info.run_name for run in children(stub_project.runs(), parent)] == ["second"]
    assert parent.data.tags["ssvh.stage.first"] == f"reused {stub_project.record('first')['run_id']}"
    assert parent.data.tags["ssvh.stage.second"] == f"ran {stub_project.record('second')['run_id']}"


@pytest.mark.slow
def test_dvc_repro_by_hand_keeps_the_same_records_without_a_server_and_a_second_run_does_nothing(
    stub_project: Project,
) -> None:
    (stub_project.folder / "mlflow.db").unlink()  # made at the first need
    status, output = stub_project.run("dvc", "repro")
    assert status == 0, output
    assert "running without a Prefect server" in output
    (parent,) = parents(stub_project.runs())
    stages = children(stub_project.runs(), parent)
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["ssvh.started_by"] == "dvc repro"
    assert [run.info.run_name for run in stages] == ["first", "second"]
    assert stub_project.record("second")["run_id"] == stages[1].info.run_id
    assert "Data and pipelines are up to date" in stub_project.run("dvc", "repro")[1]
    assert not list((stub_project.folder / ".work/open-runs").glob("*")), "else MLflow is asked, for seconds"
    status, output = stub_project.run("flows.cli", "run")
    assert status == 0, output
    assert output.startswith("nothing to do"), "and nothing was started for it"
    assert len(stub_project.runs()) == 3, "what was not run leaves no record"

    # Bad input: one line, both runs closed as failed, and DVC says no.
    stub_project.behave("second", "refuse")
    stub_project.change("epochs: 15", "epochs: 16")
    status, output = stub_project.run("dvc", "repro")
    assert status != 0
    assert "error: videos: none of them can be read" in output
    assert "Traceback" not in output
    runs = stub_project.runs()
    assert [run.info.status for run in runs[3:]] == ["FAILED", "FAILED"]


@pytest.mark.slow
def test_a_failure_ends_the_flow_with_the_reason(
    stub_project: Project, prefect_api: str, task_runs: Callable[[str], dict[str, Any]]
) -> None:
    stub_project.behave("first", "refuse")
    status, output = stub_project.run("flows.pipeline", PREFECT_API_URL=prefect_api)
    assert status == 2
    assert output.splitlines()[-1] == "error: videos: none of them can be read"
    assert "Traceback" not in output
    (parent,) = parents(stub_project.runs())
    assert parent.info.status == "FAILED"
    flow_run = parent.data.tags["ssvh.prefect_flow_run"]
    with SyncPrefectClient(api=prefect_api) as client:
        state = client.read_flow_run(flow_run).state
    assert state is not None
    assert (state.type.value, state.name, state.message) == (
        "FAILED",
        "Bad input",
        "videos: none of them can be read",
    )
    assert {name: run.state_type.value for name, run in task_runs(flow_run, 1).items()} == {"first": "FAILED"}


@pytest.mark.slow
def test_cancelling_the_flow_ends_everything_that_it_started(stub_project: Project, prefect_api: str) -> None:
    """prefect#17259: cancelling ends one process, and what that has started lives on."""
    stub_project.behave("first", "hang")
    flow = stub_project.start("flows.pipeline", PREFECT_API_URL=prefect_api)
    try:
        started = wait_for_stage(flow.pid, stub_project.folder / "hanging")
        flow.send_signal(signal.SIGTERM)
        flow.communicate(timeout=250)
        assert all_gone(started)
    finally:
        flow.kill()
    (parent,) = parents(stub_project.runs())
    assert parent.info.status == "KILLED"
    assert [run.info.status for run in children(stub_project.runs(), parent)] == ["KILLED"]


@pytest.mark.slow
def test_killing_the_flow_ends_everything_too_and_the_next_run_puts_the_records_right(
    stub_project: Project, prefect_api: str
) -> None:
    stub_project.behave("first", "hang")
    flow = stub_project.start("flows.pipeline", PREFECT_API_URL=prefect_api)
    started = wait_for_stage(flow.pid, stub_project.folder / "hanging")
    flow.kill()
    flow.communicate(timeout=250)
    assert all_gone(started)

    stub_project.behave("first", "")
    status, output = stub_project.run("dvc", "repro")
    assert status == 0, output
    runs = stub_project.runs()
    assert [run.info.status for run in parents(runs)] == ["KILLED", "FINISHED"]
    assert [run.info.run_name for run in children(runs, parents(runs)[1])] == ["first", "second"]
    assert "RUNNING" not in [run.info.status for run in runs]


def wait_for_stage(pid: int, sign: Path) -> list[psutil.Process]:
    """The processes that a flow has started, once its stage is at work."""
    until = time.monotonic() + 250
    while not sign.exists():
        assert time.monotonic() < until, "the stage did not start"
        time.sleep(0.1)
    started = psutil.Process(pid).children(recursive=True)
    assert any("stub.py" in " ".join(process.cmdline()) for process in started)
    return started


def all_gone(processes: list[psutil.Process]) -> bool:
    gone, _ = psutil.wait_procs(processes, timeout=120)
    return len(gone) == len(processes)
