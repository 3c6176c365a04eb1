"""How a stage ends, seen from outside."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

import pytest

from flows.running.environment import refuse_nested
from ssvh_model.errors import UserError
from tests.flows.conftest import Project


def test_bad_parameters_end_a_stage_before_anything_starts(stub_project: Project) -> None:
    stub_project.change("seed: 1", "seed: one")
    status, output = stub_project.run("tasks.stage", "first")
    assert status == 2
    assert output == (
        "error: params.yaml: seed is 'one'; allowed is a whole number from 0 up to 2147483647\n"
    )
    assert not (stub_project.folder / ".work").exists()


def test_a_stage_that_does_not_exist(stub_project: Project) -> None:
    status, output = stub_project.run("tasks.stage", "third")
    assert status == 2
    assert output == "error: stage 'third' is not in dvc.yaml; there are first, second\n"


def test_an_address_where_no_prefect_server_answers(stub_project: Project) -> None:
    status, output = stub_project.run("tasks.stage", "first", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert status == 2
    assert "no Prefect server answers" in output
    assert "Traceback" not in output


OWN_FLOW = """
import tasks.stages
tasks.stages.__path__.append("stubs")
from prefect import flow, runtime
from tasks.stages.first import first

@flow
def mine():
    first()
    print("flow run", runtime.flow_run.id)

mine()
"""
ALONE = """
import tasks.stages
tasks.stages.__path__.append("stubs")
from tasks.stages.first import first
first.fn()
import sys
assert "prefect" not in sys.modules, "it takes seconds to import"
"""


def test_a_stage_is_a_task_in_anybody_s_flow(
    stub_project: Project, prefect_api: str, task_runs: Callable[..., dict[str, Any]]
) -> None:
    (stub_project.folder / "mine.py").write_text(OWN_FLOW)
    status, output = stub_project.run("mine", PREFECT_API_URL=prefect_api)
    assert status == 0, output
    assert (stub_project.folder / "out/first").read_text() == "first 1"
    flow_run = re.search(r"^flow run (\S+)$", output, re.MULTILINE)
    assert flow_run is not None, output
    ((name, run),) = task_runs(flow_run[1], 1).items()
    assert (name, run.state_name) == ("first", "Completed")
    (of_stage,) = (one for one in stub_project.runs() if one.info.run_name == "first")
    assert of_stage.data.tags["ssvh.prefect_task_run"] == str(run.id)


def test_a_stage_s_function_runs_without_a_server(stub_project: Project) -> None:
    (stub_project.folder / "alone.py").write_text(ALONE)
    status, output = stub_project.run("alone")
    assert status == 0, output
    assert "first | stub first has run" in output
    assert (stub_project.folder / "out/first").exists()


def test_the_pipeline_can_not_be_reproduced_from_within_a_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "DVC_STAGE", "first")
    with pytest.raises(UserError, match="DVC_STAGE is 'first'"):
        refuse_nested()
