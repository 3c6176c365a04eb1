"""What is tried again, what is not, and which line a person sees last."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

import pytest

from tests.flows.conftest import Project
from tests.proxy import Gate
from tests.services import mlflow_service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


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


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (("stub", "first"), "error: videos: none of them can be read"),
        (("flows.pipeline",), "error: params.yaml: seed is 'many'; allowed is "),
        (("flows.cli", "promote"), "error: no model 'video-hasher' is registered"),
    ],
    ids=["stage", "flow", "flow in the command itself"],
)
def test_the_error_is_the_last_line_however_long_prefect_takes(
    stub_project: Project, prefect_api: str, command: tuple[str, ...], error: str
) -> None:
    stub_project.behave("first", "refuse")
    if command == ("flows.pipeline",):
        stub_project.change("seed: 1", "seed: many")
    with Gate(prefect_api, "/events/in").serving() as gate:
        process = stub_project.start(*command, PREFECT_API_URL=f"{gate.address}/api")
        lines: queue.Queue[str | None] = queue.Queue()

        def read() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                lines.put(line.rstrip())
            lines.put(None)

        threading.Thread(target=read, daemon=True).start()
        said: list[str] = []
        try:
            while (
                line := _next(lines, patience=3 if _ended(said) else 200, otherwise=gate.open)
            ) is not None:
                said.append(line)
            assert process.wait(timeout=200) == 2, said
        finally:
            process.kill()
    assert said[-1].startswith(error), said


def _ended(said: list[str]) -> bool:
    return any("Finished in state" in line for line in said)


def _next(lines: queue.Queue[str | None], *, patience: float, otherwise: Callable[[], None]) -> str | None:
    """The next line, None at the end; after a silence of `patience` seconds something is done to end it."""
    try:
        return lines.get(timeout=patience)
    except queue.Empty:
        otherwise()
        return lines.get(timeout=200)
