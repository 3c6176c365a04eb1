"""How a stage ends, seen from outside."""

from __future__ import annotations

import os

import pytest

from flows.running.environment import refuse_nested
from ssvh_model.errors import UserError
from tests.flows.conftest import Project

pytestmark = pytest.mark.xdist_group("flows")  # they share a Prefect server


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


def test_the_pipeline_can_not_be_reproduced_from_within_a_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "DVC_STAGE", "first")
    with pytest.raises(UserError, match="DVC_STAGE is 'first'"):
        refuse_nested()
