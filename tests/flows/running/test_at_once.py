"""Two runs of the pipeline at once, in one folder: the second waits or says so, and nothing is corrupted."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.flows.conftest import Project


@pytest.fixture
def slow_project(stub_project: Project) -> Project:
    """Its first stage takes as long as there is no file `enough`."""
    stub_project.behave("first", "long")
    (stub_project.folder / "epochs").write_text("100000")
    return stub_project


def wait_for_stage(reached: Path) -> None:
    until = time.monotonic() + 200
    while not reached.exists():
        assert time.monotonic() < until, "the stage did not start"
        time.sleep(0.05)


def check_result(project: Project) -> None:
    status, output = project.run("dvc", "status")
    assert status == 0 and "up to date" in output, output
    assert [(project.folder / f"out/{name}").read_text() for name in ("first", "second")] == [
        "first 1",
        "second 1",
    ]


@pytest.mark.slow
def test_a_second_flow_waits_says_so_and_finds_the_results_of_the_first(
    slow_project: Project, prefect_api: str
) -> None:
    first = slow_project.start("flows.pipeline", PREFECT_API_URL=prefect_api)
    wait_for_stage(slow_project.folder / "reached")
    second = slow_project.start("flows.pipeline", PREFECT_API_URL=prefect_api)
    assert second.stdout is not None
    said = ""
    while "is bringing this project up to date; waiting until it ends" not in said:
        said += (read := second.stdout.readline())
        assert read, said
    (slow_project.folder / "enough").touch()
    rest = [process.communicate(timeout=250)[0] for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], [said, *rest]
    check_result(slow_project)
    stages = [run.info.run_name for run in slow_project.runs() if "mlflow.parentRunId" in run.data.tags]
    assert stages == ["first", "second"], "each stage ran once"


@pytest.mark.slow
def test_a_second_dvc_repro_typed_by_hand_says_so(slow_project: Project) -> None:
    first = slow_project.start("dvc", "repro")
    wait_for_stage(slow_project.folder / "reached")
    status, output = slow_project.run("dvc", "repro")
    (slow_project.folder / "enough").touch()
    said = first.communicate(timeout=250)[0]
    assert first.returncode == 0, said
    assert status != 0
    assert "is busy, it is being blocked by" in output, output
    check_result(slow_project)
