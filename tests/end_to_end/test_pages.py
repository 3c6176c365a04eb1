"""What a person sees in the browser: the pages of Prefect and MLflow after a run, in a real Chromium."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.records.prefect_page import PICTURE_WIDTH
from tests.browser import Page, browser, find_browser
from tests.projects import STAGES, Project

pytestmark = pytest.mark.timeout(1500)


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    if (program := find_browser()) is None:
        pytest.skip("needs Chromium, which is not installed")
    with browser(program) as tab:
        yield tab


@pytest.fixture
def addresses(
    finished: tuple[Project, str], clone: Callable[[], Project], page: Page
) -> Iterator[dict[str, str]]:
    """Where `ssvh ui` shows the pages of the finished project."""
    project = clone()
    project.environment["PREFECT_API_URL"] = finished[0].environment["PREFECT_API_URL"]
    servers = project.start("flows.cli", "ui")
    try:
        found = {}
        assert servers.stdout is not None
        for line in servers.stdout:
            if line.startswith("  "):
                name, address = line.split()
                found[name] = address
            if "ctrl-C" in line:
                break
        yield found
    finally:
        servers.send_signal(signal.SIGINT)
        servers.communicate(timeout=300)


@pytest.mark.slow
def test_prefect_shows_the_run_its_stages_and_its_pictures_and_mlflow_too(
    finished: tuple[Project, str], addresses: dict[str, str], page: Page, tmp_path: Path
) -> None:
    project, _ = finished
    record = project.json("runs/evaluate.json")

    runs = f"{addresses['Prefect']}/runs"
    page.open(f"{runs}/flow-run/{record['ssvh.prefect_flow_run']}")
    page.wait_for_text("Completed", "pipeline", f"{len(STAGES)} Task runs")
    page.picture(tmp_path / "prefect-run.png")
    page.click_text("Task Runs")
    page.wait_for_text(*STAGES)
    page.picture(tmp_path / "prefect-stages.png")
    stage = f"{runs}/task-run/{record['ssvh.prefect_task_run']}"
    page.open(stage)
    page.click_text("Artifacts")
    page.wait_for_text("contact-sheet", "curves", "metrics", "mlflow-run")
    page.picture(tmp_path / "prefect-stage.png")
    page.click_text("contact-sheet")
    width, height = page.wait_for_picture(PICTURE_WIDTH)
    assert width == PICTURE_WIDTH and height > 400
    page.picture(tmp_path / "prefect-sheet.png")
    page.open(stage)
    page.click_text("Artifacts")
    page.click_text("metrics")
    gmap = project.json("metrics/evaluation.json")["gmap"]
    page.wait_for_text("GMAP", "MAP@100")
    page.wait_for_number("hasher", gmap)
    page.picture(tmp_path / "prefect-metrics.png")

    runs = f"{addresses['MLflow']}/#/experiments/1/runs"
    page.open(f"{runs}/{record['parent_run_id']}")
    page.wait_for_text("pipeline", "map_at_100")
    page.wait_for_number("gmap", gmap)
    page.picture(tmp_path / "mlflow-run.png")
    page.open(f"{runs}/{record['run_id']}/artifacts/pictures/neighbours.png")
    page.wait_for_picture(500)
    page.picture(tmp_path / "mlflow-picture.png")
