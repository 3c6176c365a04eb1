"""`ssvh tune` as a person starts it, with real services: one worker, then several that are killed and whose
database restarts.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import optuna
import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowFilter, FlowFilterName

from tests.flows.conftest import Project
from tests.postgresql import PostgreSQL
from tests.tasks.tuning.small import DEFAULT_IS_TOO_SHORT, write_tiny_tuning

pytestmark = pytest.mark.timeout(1200)

COMMAND = ("flows.cli", "tune", "--features", "features.h5")
ENDED = ("COMPLETE", "PRUNED")


@pytest.fixture
def tuning(stub_project: Project, prefect_api: str) -> Project:
    write_tiny_tuning(stub_project.folder)
    stub_project.environment["PREFECT_API_URL"] = prefect_api
    stub_project.environment.pop("OPTUNA_STORAGE", None)
    return stub_project


def check_records(project: Project, study: optuna.Study, wanted: int) -> list[Any]:
    """MLflow has one child a trial, in its right state and with every epoch once; the children."""
    ended = [trial for trial in study.trials if trial.state.name in ENDED]
    assert len(ended) == wanted
    assert not [trial for trial in study.trials if trial.state.name in ("RUNNING", "WAITING")]
    runs = project.runs()
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = {run.data.tags["ssvh.trial"]: run for run in runs if run is not parent}
    assert parent.info.status == "FINISHED" and len(children) == len(runs) - 1 == wanted
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{project.folder}/mlflow.db")
    for trial in ended:
        run = children[str(trial.user_attrs["ssvh.number"])]
        assert run.data.tags["ssvh.trial_state"] == trial.state.name
        assert run.info.status == {"COMPLETE": "FINISHED", "PRUNED": "KILLED"}[trial.state.name]
        for name in ("loss", "validation_gmap", "epoch_seconds"):
            steps = [point.step for point in client.get_metric_history(run.info.run_id, name)]
            assert sorted(steps) == list(range(1, len(steps) + 1)), f"{name} of each epoch, once"
        assert len(steps) == 2 + trial.last_step, "two epochs of warm-up, then those that count"
        assert run.data.params["losses.beta"] == str(trial.user_attrs["ssvh.changes"]["losses.beta"])
        if trial.state.name == "COMPLETE":
            assert run.data.metrics["gmap"] == pytest.approx(trial.value, abs=1e-12)
            last = [point.value for point in client.get_metric_history(run.info.run_id, "validation_gmap")]
            assert trial.value == pytest.approx(sum(last[2:][-3:]) / len(last[2:][-3:]), abs=1e-12)
    pictures = {one.path for one in client.list_artifacts(parent.info.run_id)}
    assert {"table.json", "history.png", "slices.png", "best_curves.png"} <= pictures
    return list(children.values())


@pytest.mark.slow
def test_one_worker_tunes_reports_and_applies(
    tuning: Project, task_runs: Callable[..., dict[str, Any]]
) -> None:
    write_tiny_tuning(tuning.folder, **DEFAULT_IS_TOO_SHORT)
    status, output = tuning.run(*COMMAND)
    assert status == 0, output
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tuning.folder}/optuna.db")
    children = check_records(tuning, study, 4)
    assert len(list((tuning.folder / ".work/experiments").glob("warmup-*"))) == 1, (
        "what no trial changes is trained once"
    )

    ran = task_runs(children[0].data.tags["ssvh.prefect_flow_run"], expected=4)
    states = {"COMPLETE": "Completed", "PRUNED": "Pruned"}
    assert {name: run.state_name for name, run in ran.items()} == {
        f"trial {trial.number}": states[trial.state.name] for trial in study.trials
    }
    assert {run.data.tags["ssvh.prefect_task_run"] for run in children} == {
        str(run.id) for run in ran.values()
    }

    folder = next((tuning.folder / "results/tuning").iterdir())
    table = json.loads((folder / "table.json").read_text())
    assert table["best"]["gmap"] == study.best_value and len(table["trials"]) == 4
    for part in (
        "the best of 4 trials",
        f"GMAP {study.best_value:.4f} with trial",
        "results/tuning/",
        "--apply",
    ):
        assert part in output, part

    # Again, with --apply: nothing is trained, and params.yaml has the best values and its comments.
    before = (tuning.folder / "params.yaml").read_text()
    trained = set((tuning.folder / ".work/experiments").iterdir())
    status, output = tuning.run(*COMMAND, "--apply")
    assert status == 0, output
    assert set((tuning.folder / ".work/experiments").iterdir()) == trained
    after = (tuning.folder / "params.yaml").read_text()
    assert table["best"]["trial"] != 0 and after != before
    from tasks.params.load import load_params

    params = load_params(tuning.folder / "params.yaml")
    assert params.losses.beta == table["best"]["changes"]["losses.beta"]
    assert {key: one.model_dump(mode="json") for key, one in params.rounds.items()} == table["best"][
        "changes"
    ]["rounds"]
    assert before.count("#") == after.count("#")
    assert f"losses.beta: 0.2 -> {params.losses.beta}" in output

    status, output = tuning.run(*COMMAND, "--workers", "2")
    assert status == 2
    assert (
        "error: Optuna's storage is sqlite" in output
        and "allowed is one of PostgreSQL, by OPTUNA_STORAGE" in output
    )


def flow_runs(client: SyncPrefectClient, study: str) -> list[Any]:
    """The runs that worked at a study."""
    of_tune = FlowFilter(name=FlowFilterName(any_=["tune"]))
    return [run for run in client.read_flow_runs(flow_filter=of_tune) if run.parameters.get("study") == study]


def trials(study: str, storage: str) -> list[Any]:
    try:
        return optuna.load_study(study_name=study, storage=storage).get_trials(deepcopy=False)
    except KeyError:
        return []


def wait_for(happened: Callable[[], Any], alive: Any) -> Any:
    """What `happened` returns, once it is true."""
    deadline = time.monotonic() + 240
    while not (found := happened()):
        assert alive.poll() is None and time.monotonic() < deadline, alive.communicate()[0]
        time.sleep(0.1)
    return found


@pytest.mark.slow
def test_two_starts_join_a_killed_worker_s_trial_goes_on_and_the_database_restarts(
    tuning: Project, postgresql: PostgreSQL
) -> None:
    storage = postgresql.create("tune")
    tuning.environment["OPTUNA_STORAGE"] = storage
    write_tiny_tuning(tuning.folder, tuning__trials=10, tuning__heartbeat=3)
    night = f"night-{time.time_ns()}"
    command = (*COMMAND, "--study", night)
    first = tuning.start(*command, "--workers", "2")
    second = tuning.start(*command)

    def killed_in_the_middle() -> int | None:
        """The number of a trial that has finished an epoch of its rounds, and whose worker, one of the first
        start, is killed.
        """
        for trial in trials(night, storage):
            if not (trial.state.name == "RUNNING" and trial.number > 0 and trial.intermediate_values):
                continue
            worker = int(trial.user_attrs["ssvh.worker"].split()[-1])
            if worker not in {child.pid for child in psutil.Process(first.pid).children()}:
                continue
            os.kill(worker, signal.SIGSTOP)  # it may have ended the trial since
            if trials(night, storage)[trial.number].state.name == "RUNNING":
                os.kill(worker, signal.SIGKILL)
                return int(trial.number)
            os.kill(worker, signal.SIGCONT)
        return None

    number = wait_for(killed_in_the_middle, first)

    def taken_up() -> bool:
        return any(trial.system_attrs.get("failed_trial") == number for trial in trials(night, storage))

    wait_for(taken_up, first)
    postgresql.stop()
    time.sleep(2)
    postgresql.start()

    said = [start.communicate(timeout=300)[0] for start in (first, second)]
    for start, output in zip((first, second), said, strict=True):
        assert start.returncode == 0, output
        assert f"study {night}, the best of 10 trials" in output
    study = optuna.load_study(study_name=night, storage=storage)
    assert not [trial for trial in study.trials if "ssvh.failure" in trial.user_attrs], said
    check_records(tuning, study, 10)
    workers = {trial.user_attrs["ssvh.worker"] for trial in study.trials if "ssvh.worker" in trial.user_attrs}
    assert len(workers) == 3, "two of the first start, and one of the second"
    killed = study.trials[number]
    again = next(trial for trial in study.trials if trial.system_attrs.get("failed_trial") == number)
    assert killed.state.name == "FAIL" and again.state.name in ENDED
    assert again.user_attrs["ssvh.training"] == killed.user_attrs["ssvh.training"], "and with its checkpoints"
    assert (tuning.folder / "results/tuning" / night / "history.png").is_file()
    with SyncPrefectClient(api=tuning.environment["PREFECT_API_URL"]) as client:
        (begun,) = [run for run in flow_runs(client, night) if run.state_name == "Crashed"]
    assert "its process was killed (signal 9)" in begun.state.message


@pytest.mark.slow
def test_bad_input_is_one_line(tuning: Project) -> None:
    write_tiny_tuning(tuning.folder, tuning__search=["losses.gamma"])
    for command in (COMMAND, ("flows.cli", "params", "check")):
        status, output = tuning.run(*command)
        assert status == 2, output
        assert "error: params.yaml: tuning.search has losses.gamma; allowed are keys" in output
        assert "Traceback" not in output
