"""The ablation as a person starts it: killed in the middle, started again, with real services."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.flows.conftest import Project
from tests.tasks.experiments.small import write_tiny_features, write_tiny_params

COMMAND = (
    "flows.cli",
    "ablate",
    "--features",
    "features.h5",
    "--seeds",
    "1,2",
    "--variants",
    "random-sampler",
)


@pytest.fixture
def experiment(stub_project: Project, prefect_api: str) -> Project:
    write_tiny_features(stub_project.folder / "features.h5")
    write_tiny_params(stub_project.folder / "params.yaml")
    stub_project.environment["PREFECT_API_URL"] = prefect_api
    return stub_project


def results(project: Project) -> dict[Path, int]:
    """Finished trainings and when they were written."""
    return {path: path.stat().st_mtime_ns for path in project.folder.glob("results/trainings/*/*.json")}


def descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


@pytest.mark.slow
@pytest.mark.nightly
def test_a_killed_ablation_goes_on_under_the_same_parent_and_keeps_what_it_had(
    experiment: Project, task_runs: Callable[..., dict[str, Any]]
) -> None:
    process = experiment.start(*COMMAND)
    deadline = time.monotonic() + 240
    while not results(experiment):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        time.sleep(0.05)
    started = descendants(process.pid)
    flow = next(one for one in started if "flows.ablate" in one.cmdline())
    os.kill(flow.pid, signal.SIGKILL)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    _, alive = psutil.wait_procs(started, timeout=120)
    assert not alive, "no training goes on without its starter"
    kept = results(experiment)
    assert 1 <= len(kept) < 4

    status, output = experiment.run(*COMMAND)
    assert status == 0, output
    after = results(experiment)
    assert len(after) == 4 and kept.items() <= after.items()
    for part in (
        "finished before",
        "of 4 trainings",
        "random-sampler",
        "-5.9",
        "Convergence",
        "results/ablation/",
    ):
        assert part in output, part
    assert "validation videos search the training videos" in output

    runs = experiment.runs()
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert len(parents) == 1 and parents[0].info.status == "FINISHED"
    finished = [run for run in runs if run not in parents and run.info.status == "FINISHED"]
    names = sorted(run.info.run_name for run in finished)
    variants = ("full", "random-sampler")
    assert names == sorted(f"{name}, seed {seed}" for name in variants for seed in (1, 2))
    assert {run.info.status for run in runs} <= {"FINISHED", "KILLED"}
    ran = task_runs(parents[0].data.tags["ssvh.prefect_flow_run"], expected=4 - len(kept))
    assert {run.state_name for run in ran.values()} == {"Completed"}
    folder = next(experiment.folder.glob("results/ablation/*/"))
    assert (folder / "table.md").is_file() and (folder / "bars.png").is_file()


@pytest.mark.slow
def test_bad_input_is_one_line(experiment: Project) -> None:
    status, output = experiment.run("flows.cli", "transfer", "--to", "features.h5", "--state", "none")
    assert status == 2
    assert "error: none: no such folder" in output and "Traceback" not in output
    too_many = "rounds.1.clusters=[100000]"
    status, output = experiment.run("flows.cli", "ablate", *COMMAND[2:4], "--seeds", "1", "--set", too_many)
    assert status == 2, output
    assert "100000" in output and "Traceback" not in output
    params = experiment.folder / "params.yaml"
    params.write_text(params.read_text().replace("sampler.kind: random", "sampler.kind: some"))
    for command in (("ablate",), ("params", "check")):
        status, output = experiment.run("flows.cli", *command)
        assert status == 2
        assert output.startswith(
            "error: params.yaml: ablation.variants.random-sampler: sampler.kind is 'some'"
        )


def test_outside_of_a_project(experiment: Project) -> None:
    shutil.move(experiment.folder / "dvc.yaml", experiment.folder / "other.yaml")
    status, output = experiment.run("flows.cli", "ablate")
    assert status == 2 and output.startswith("error: ") and "Traceback" not in output
