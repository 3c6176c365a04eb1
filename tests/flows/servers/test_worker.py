"""Deployments on real workers: registering, running, cancelling."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter
from prefect.states import Cancelling

from flows.servers.deploy import zombie_automation
from tests.flows.conftest import Project

pytestmark = pytest.mark.timeout(1200)

PROBE = """
import os, pathlib, time
from prefect import flow

@flow(name="probe")
def probe(number: int, together: bool = True):
    print("GPU", os.environ["CUDA_VISIBLE_DEVICES"])
    pathlib.Path(f"probe-{number}").write_text(os.environ["CUDA_VISIBLE_DEVICES"])
    until = time.monotonic() + 300
    while together and not (pathlib.Path("probe-1").exists() and pathlib.Path("probe-2").exists()):
        assert time.monotonic() < until, "the runs are not beside each other"
        time.sleep(0.2)
    if number == 3:
        time.sleep(600)
"""
SERVICE = """
name: {tag}
pull:
  - prefect.deployments.steps.set_working_directory:
      directory: "{{{{ $SSVH_PROJECT }}}}"
deployments:
  - {{name: probe, entrypoint: "probe.py:probe", work_pool: {{name: gpu, job_variables: {{env: {{PREFECT_FLOWS_HEARTBEAT_FREQUENCY: "30"}}}}}}, parameters: {{number: 0}}}}
  - {{name: train, entrypoint: flows.pipeline.pipeline, work_pool: {{name: gpu}}}}
"""


@pytest.fixture
def service(stub_project: Project, prefect_api: str, tmp_path: Path) -> Project:
    """A project of two short stages that is deployed, and a flow that says which GPU it sees."""
    (tmp_path / "probe.py").write_text(PROBE)
    (tmp_path / "prefect.yaml").write_text(SERVICE.format(tag=tmp_path.name))
    stub_project.environment |= {"PREFECT_API_URL": prefect_api, "PREFECT_WORKER_QUERY_SECONDS": "1"}
    status, output = stub_project.run("flows.cli", "deploy")
    assert status == 0, output
    return stub_project


@contextlib.contextmanager
def workers(project: Project, *options: str) -> Iterator[subprocess.Popen[str]]:
    """`ssvh worker`, ended for good at the end; what it has started is ended by itself, which tests look
    at.
    """
    with open(project.folder / "worker.log", "a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.cli", "worker", *options],
            cwd=project.folder,
            env=project.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                started = psutil.Process(process.pid).children(recursive=True)
                process.send_signal(signal.SIGINT)
                process.wait(timeout=300)
                for left in started:
                    with contextlib.suppress(psutil.Error):
                        left.kill()


def start(api: str, deployment: str, **parameters: Any) -> Any:
    with SyncPrefectClient(api=api) as client:
        found = client.read_deployment_by_name(deployment)
        return client.create_flow_run_from_deployment(found.id, parameters=parameters).id


def wait_for(happened: Callable[[], Any], what: str, project: Project, seconds: float = 300) -> Any:
    until = time.monotonic() + seconds
    while not (result := happened()):
        assert time.monotonic() < until, f"{what}: {(project.folder / 'worker.log').read_text()}"
        time.sleep(0.2)
    return result


def end_of(api: str, run: Any, project: Project) -> Any:
    """The state in which a flow run ends."""

    def ended() -> Any:
        with SyncPrefectClient(api=api) as client:
            state = client.read_flow_run(run).state
        return state if state is not None and state.is_final() else None

    return wait_for(ended, "the run did not end", project)


@pytest.mark.slow
def test_each_gpu_has_a_worker_that_sees_it_alone_and_ctrl_c_ends_all(
    service: Project, prefect_api: str
) -> None:
    with workers(service, "--pool", "gpu", "--gpus", "7,9") as process:
        runs = [start(prefect_api, "probe/probe", number=number) for number in (1, 2)]
        states = [end_of(prefect_api, run, service) for run in runs]
        assert [state.name for state in states] == ["Completed", "Completed"]
        assert {(service.folder / f"probe-{number}").read_text() for number in (1, 2)} == {"7", "9"}

        start(prefect_api, "probe/probe", number=3, together=False)
        wait_for((service.folder / "probe-3").exists, "the run did not start", service)
        everything = psutil.Process(process.pid).children(recursive=True)
        assert len(everything) >= 3
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=300) == 0
        _, left = psutil.wait_procs(everything, timeout=120)
        assert not left


@pytest.mark.slow
def test_cancelling_a_run_ends_all_of_it_and_the_next_run_goes_on(service: Project, prefect_api: str) -> None:
    """prefect#17259: cancelling ends one process, and what that has started lives on."""
    service.behave("second", "hang with children")
    with workers(service, "--pool", "gpu") as process:
        run = start(prefect_api, "pipeline/train")
        wait_for((service.folder / "hanging").exists, "the stage did not start", service)
        (worker,) = psutil.Process(process.pid).children()
        of_the_run = worker.children(recursive=True)
        commands = [" ".join(one.cmdline()) for one in of_the_run]
        for part in ("prefect", "dvc", "stub.py second", "time.sleep(600)"):
            assert any(part in command for command in commands), (part, commands)

        began = time.monotonic()
        with SyncPrefectClient(api=prefect_api) as client:
            client.set_flow_run_state(run, Cancelling())
        _, left = psutil.wait_procs(of_the_run, timeout=120)
        assert not left, [one.cmdline() for one in left]
        print(f"all processes were gone after {time.monotonic() - began:.1f} s")
        assert end_of(prefect_api, run, service).name == "Cancelled"

        service.behave("second", "")
        state = end_of(prefect_api, start(prefect_api, "pipeline/train"), service)
        assert state.name == "Completed", state.message
    (killed, finished) = [run for run in service.runs() if "mlflow.parentRunId" not in run.data.tags]
    assert (killed.info.status, finished.info.status) == ("KILLED", "FINISHED")
    assert finished.data.tags["ssvh.stage.first"].startswith("reused ")
    assert "stub second goes on from half" in (service.folder / "worker.log").read_text()


def heartbeats(api: str, run: Any) -> list[Any]:
    """The signs of life of a flow run that the server has."""
    wanted = EventFilter(
        event=EventNameFilter(name=["prefect.flow-run.heartbeat"]),
        resource=EventResourceFilter(id=[f"prefect.flow-run.{run}"]),
    )
    with SyncPrefectClient(api=api) as client:
        found = client._client.post("/events/filter", json={"filter": wanted.model_dump(mode="json")})
    events: list[Any] = found.raise_for_status().json()["events"]
    return events


@pytest.mark.slow
@pytest.mark.nightly
def test_a_run_whose_machine_is_gone_ends_as_crashed(service: Project, prefect_api: str) -> None:
    with SyncPrefectClient(api=prefect_api) as client:
        automation = zombie_automation(40).model_copy(update={"name": service.folder.name})
        client.create_automation(automation)
    with workers(service, "--pool", "gpu") as process:
        run = start(prefect_api, "probe/probe", number=3, together=False)
        wait_for(lambda: heartbeats(prefect_api, run), "the run sent no heartbeat", service)
        everything = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for one in everything:
            one.kill()
        process.wait()
    state = end_of(prefect_api, run, service)
    assert (state.type.value, state.message) == ("CRASHED", automation.actions[0].message)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--pool", "gpu", "--gpus", "0,1,0"), "error: --gpus names 0 twice"),
        (("--pool", "tpu"), "error: --pool tpu: the server has no such work pool"),
    ],
)
def test_refusals_are_one_line(service: Project, options: tuple[str, ...], message: str) -> None:
    status, output = service.run("flows.cli", "worker", *options)
    assert status == 2
    assert output.startswith(message) and output.count("\n") == 1


@pytest.mark.slow
def test_no_server_is_one_line(stub_project: Project) -> None:
    for command in (("worker", "--pool", "gpu"), ("deploy",)):
        status, output = stub_project.run("flows.cli", *command)
        assert status == 2
        assert output.startswith("error: PREFECT_API_URL is not set") and output.count("\n") == 1
    assert "PREFECT_API_URL" not in os.environ
