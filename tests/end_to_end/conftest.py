"""The whole project in a folder of its own, with parameters so small that the pipeline takes a minute."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from ruamel.yaml import YAML

from tests.conftest import REPOSITORY

STAGES = (
    "corpus",
    "features",
    "warmup",
    "clusters@1",
    "p2set@1",
    "clusters@2",
    "p2set@2",
    "evaluate",
    "register",
)
TINY: dict[str, Any] = {
    "running.checkpoint_every": 1,
    "corpus.arcade": {
        "clips": 72,
        "games": 4,
        "reuploads": 2,
        "distortion": 0.3,
        "bad_frames": 0.2,
        "frames": 12,
        "size": 80,
    },
    "features.frames": 8,
    "features.size": 64,
    "features.thumbnail": 48,
    "model.bits": 16,
    "model.width": 48,
    "model.layers": 1,
    "model.heads": 2,
    "model.decoder_layers": 1,
    "model.decoder_width": 32,
    "model.decoder_heads": 2,
    "training.batch_size": 16,
    "training.validate_every": 4,
    "warmup.epochs": 16,
    "rounds": {
        "1": {"after": "warmup", "clusters": [4, 6], "epochs": 12, "refresh_every": 3},
        "2": {"after": "round-1", "clusters": [8], "epochs": 4, "refresh_every": 2},
    },
    "evaluate.videos_shown": 3,
    "evaluate.queries_shown": 3,
}


@dataclass
class Project:
    """A copy of the project and ways to use it as a person would."""

    folder: Path
    environment: dict[str, str]

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command in the project's folder, in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *command: str) -> str:
        """Run a command that must succeed; its output."""
        process = self.start(*command)
        output, _ = process.communicate(timeout=1200)
        assert process.returncode == 0, output
        return output

    def set(self, **changes: Any) -> None:
        """Change params.yaml; dots in the keys are written as two underscores."""
        path = self.folder / "params.yaml"
        yaml = YAML()
        values = yaml.load(path.read_text())
        for key, value in changes.items():
            place = values
            *sections, last = key.split("__")
            for section in sections:
                place = place[section]
            place[last] = value
        with open(path, "w") as file:
            yaml.dump(values, file)

    def json(self, path: str) -> Any:
        return json.loads((self.folder / path).read_text())

    def run_ids(self) -> dict[str, str]:
        """The MLflow run that made each stage's present result."""
        return {
            path.stem: self.json(f"runs/{path.name}")["run_id"]
            for path in (self.folder / "runs").glob("*.json")
        }

    def client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(f"sqlite:///{self.folder}/mlflow.db")


def copy_project(folder: Path) -> Project:
    """What git would clone, with tiny parameters and a commit."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, names.split("\0")):
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
    environment = {
        **{
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PREFECT", "MLFLOW", "SSVH", "DVC"))
        },
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(folder),
        "PYTHONUNBUFFERED": "1",
        "DO_NOT_TRACK": "1",
        "DVC_NO_ANALYTICS": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_HOME": str(folder / ".prefect"),
        "GIT_AUTHOR_NAME": "test",
        "GIT_AUTHOR_EMAIL": "test@localhost",
        "GIT_COMMITTER_NAME": "test",
        "GIT_COMMITTER_EMAIL": "test@localhost",
    }
    project = Project(folder, environment)
    project.set(**{key.replace(".", "__"): value for key, value in TINY.items()})
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "start"]):
        subprocess.run(["git", *command], cwd=folder, env=environment, check=True)
    return project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project in which nothing has run yet."""
    return copy_project(tmp_path)


@pytest.fixture(scope="session")
def finished(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest, worker_id: str
) -> tuple[Project, str]:
    """A project after `ssvh run`, and what that printed. Do not change it; `clone` it.

    One for all test processes: the first that needs it makes it, under a lock.
    """
    shared = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        shared = shared.parent
    folder, note = shared / "finished", shared / "finished.json"
    with FileLock(shared / "finished.lock"):
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
