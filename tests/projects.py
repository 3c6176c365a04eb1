"""The whole project in a folder of its own, with parameters so small that the pipeline takes a minute."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

REPOSITORY = Path(__file__).resolve().parents[1]
SECONDS_TO_END = 1200  # of a command on a busy machine

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
        output, _ = process.communicate(timeout=SECONDS_TO_END)
        assert process.returncode == 0, output
        return output

    def kill_when(self, happened: Callable[[], bool], *, seconds: float = 600) -> None:
        """Start `dvc repro` and kill it, with every process that it started, as soon as `happened`, which may
        take so many seconds.
        """
        process = self.start("dvc", "repro")
        deadline = time.monotonic() + seconds
        while not happened():
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline, "the moment to kill never came"
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

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


def copy_file(source: Path, target: Path) -> None:
    """A link stays a link."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target, follow_symlinks=False)


def copy_repository(folder: Path) -> None:
    """What git would clone, with changes that are not committed; beside it what Python has compiled of it,
    which takes seconds.
    """
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, names.split("\0")):
        if (REPOSITORY / name).exists():
            copy_file(REPOSITORY / name, folder / name)
        if name.endswith(".py") and (compiled := Path(cache_from_source(str(REPOSITORY / name)))).is_file():
            copy_file(compiled, Path(cache_from_source(str(folder / name))))


def copy_project(folder: Path) -> Project:
    """The repository with tiny parameters and a commit."""
    copy_repository(folder)
    project = Project(folder, environment_in(folder))
    project.set(**{key.replace(".", "__"): value for key, value in TINY.items()})
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "start"]):
        subprocess.run(["git", *command], cwd=folder, env=project.environment, check=True)
    return project


def environment_in(folder: Path) -> dict[str, str]:
    """The variables with which a project's programs are started."""
    return {
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
