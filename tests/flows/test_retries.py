"""What is tried again, and what is not."""

from __future__ import annotations

import pytest

from tests.flows.conftest import Project
from tests.services import mlflow_service

pytestmark = [pytest.mark.xdist_group("flows"), pytest.mark.timeout(400)]  # they share a Prefect server


def test_a_stage_that_finds_no_mlflow_is_tried_again_and_finds_it(
    stub_project: Project, prefect_api: str
) -> None:
    mlflow, address = mlflow_service(stub_project.folder)
    stage = stub_project.start(
        "stub",
        "first",
        PREFECT_API_URL=prefect_api,
        MLFLOW_TRACKING_URI=address,
        MLFLOW_HTTP_REQUEST_MAX_RETRIES="0",
    )
    try:
        assert stage.stdout is not None
        said = []
        for line in stage.stdout:
            said.append(line)
            if "Retry 1/" in line:
                mlflow.start()
                break
        rest, _ = stage.communicate(timeout=200)
        output = "".join(said) + rest
        assert stage.returncode == 0, output
        assert "will start 10 second(s) from now" in output
        assert "Finished in state Completed()" in output and "Traceback" not in output
        assert (stub_project.folder / "out/first").exists()
    finally:
        stage.kill()
        mlflow.stop()


def test_bad_input_is_not_tried_again(stub_project: Project, prefect_api: str) -> None:
    stub_project.behave("first", "refuse")
    status, output = stub_project.run("stub", "first", PREFECT_API_URL=prefect_api)
    assert status == 2
    assert "Retry" not in output
    assert output.splitlines()[-1] == "error: videos: none of them can be read"
