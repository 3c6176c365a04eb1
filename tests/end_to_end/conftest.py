"""Projects to run the real thing in: one in which nothing has run yet, one that is finished, and copies of
it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from tests.projects import Project, copy_project


@pytest.fixture
def project(tmp_path: Path, empty_mlflow: Path, empty_prefect: Path) -> Project:
    """A project in which nothing has run yet; its databases have their tables."""
    project = copy_project(tmp_path)
    shutil.copy(empty_mlflow, tmp_path / "mlflow.db")
    (tmp_path / ".prefect").mkdir()
    shutil.copy(empty_prefect, tmp_path / ".prefect/prefect.db")
    return project


@pytest.fixture(scope="session")
def finished(for_all: Path, request: pytest.FixtureRequest) -> tuple[Project, str]:
    """A project after `ssvh run` from nothing, and what that printed. Do not change it; `clone` it.

    One for all test processes: the first that needs it makes it, under a lock.
    """
    folder, note = for_all / "finished", for_all / "finished.json"
    with FileLock(for_all / "finished.lock"):
        if not note.is_file():
            folder.mkdir()
            project = copy_project(folder)
            project.environment["PREFECT_API_URL"] = request.getfixturevalue("prefect_api")
            output = project.run("flows.cli", "run")
            note.write_text(json.dumps({"environment": project.environment, "output": output}))
    noted = json.loads(note.read_text())
    return Project(folder, noted["environment"]), noted["output"]


@pytest.fixture
def clone(finished: tuple[Project, str], tmp_path: Path) -> Callable[[], Project]:
    """A copy of the finished project, with its results and DVC's cache, without a Prefect server."""

    def make() -> Project:
        project, _ = finished
        shutil.copytree(project.folder, tmp_path, dirs_exist_ok=True, symlinks=True)
        environment = {
            **project.environment,
            "PYTHONPATH": str(tmp_path),
            "PREFECT_HOME": str(tmp_path / ".prefect"),
        }
        del environment["PREFECT_API_URL"]
        return Project(tmp_path, environment)

    return make
