"""A project of two short stages, and a real Prefect server.

The stages are the real thing but for what they do: DVC starts `stub.py`, which runs `tasks.stage` with
functions of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

STUB = """
import sys
import tasks.stages
tasks.stages.__path__.append("stubs")
from tasks.stage import main
sys.exit(main(sys.argv[1:]))
"""
FUNCTION = """
import pathlib, subprocess, sys, time

from ssvh_model.errors import UserError
from tasks.pipeline.open_stage import open_stage
from tasks.pipeline.stage_task import stage_task


@stage_task()
def {name}():
    with open_stage("{name}") as stage:
        work(stage)


def work(stage):
    behaviour = pathlib.Path("behave-{name}")
    how = behaviour.read_text() if behaviour.exists() else ""
    if how == "refuse":
        raise UserError("videos: none of them can be read")
    if how == "break":
        raise RuntimeError("loss is nan\\nat step 3")
    if how == "hang":
        pathlib.Path("hanging").write_text("yes")
        time.sleep(600)
    half = stage.work.folder / "half"
    if how == "hang with children":
        half.write_text("done")
        children = [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) for _ in range(2)]
        pathlib.Path("hanging").write_text("yes")
        children[0].wait()
    if half.exists():
        stage.say("stub {name} goes on from half")
    if how == "picture":
        stage.run.log_artifact(behaviour)
    if how == "long":
        for epoch in range(int(pathlib.Path("epochs").read_text())):
            stage.run.log_metrics({{"long": epoch}}, step=epoch)
            pathlib.Path("reached.new").write_text(str(epoch))
            pathlib.Path("reached.new").replace("reached")  # whoever reads it never finds it empty
            time.sleep(0.1)
            if pathlib.Path("enough").exists():
                break
    for epoch in range(3):
        stage.run.log_metrics({{"loss": 1.0 / (1 + epoch)}}, step=epoch)
    stage.say("stub {name} has run")
    out = stage.work.folder / "out"
    out.write_text("{name} " + str(stage.params.seed))
    stage.work.publish({{pathlib.Path("out/{name}"): out}})
"""
PIPELINE = """
stages:
  first:
    cmd: python stub.py first
    params: [seed]
    outs: [out/first, runs/first.json]
  second:
    cmd: python stub.py second
    deps: [out/first]
    params: [warmup]
    outs: [out/second, runs/second.json]
"""


@dataclass
class Project:
    """A project's folder and ways to use it as a person would."""

    folder: Path
    environment: dict[str, str]

    def start(self, *command: str, **extra: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=self.folder,
            env={**self.environment, **extra},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *command: str, **extra: str) -> tuple[int, str]:
        process = self.start(*command, **extra)
        output, _ = process.communicate(timeout=600)
        return process.returncode, output

    def change(self, old: str, new: str) -> None:
        params = self.folder / "params.yaml"
        text = params.read_text()
        assert old in text
        params.write_text(text.replace(old, new, 1))

    def behave(self, stage: str, how: str) -> None:
        (self.folder / f"behave-{stage}").write_text(how)

    def record(self, stage: str) -> dict[str, Any]:
        return dict(json.loads((self.folder / f"runs/{stage}.json").read_text()))

    def runs(self) -> list[Any]:
        """All MLflow runs, oldest first."""
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{self.folder}/mlflow.db")
        ids = [experiment.experiment_id for experiment in client.search_experiments()]
        return sorted(client.search_runs(ids), key=lambda run: run.info.start_time)


@pytest.fixture
def stub_project(tmp_path: Path, empty_mlflow: Path, empty_prefect: Path) -> Project:
    """Two stages, nothing run yet, no Prefect server known."""
    write_stub_project(tmp_path)
    shutil.copy(empty_mlflow, tmp_path / "mlflow.db")
    (tmp_path / ".prefect").mkdir()
    shutil.copy(empty_prefect, tmp_path / ".prefect/prefect.db")
    return Project(tmp_path, environment_in(tmp_path))


@pytest.fixture(scope="session")
def finished_template(tmp_path_factory: pytest.TempPathFactory, empty_mlflow: Path, prefect_api: str) -> Path:
    """The same after a run of its pipeline."""
    folder = tmp_path_factory.mktemp("finished-stub")
    write_stub_project(folder)
    shutil.copy(empty_mlflow, folder / "mlflow.db")
    status, output = Project(folder, environment_in(folder)).run(
        "flows.pipeline", PREFECT_API_URL=prefect_api
    )
    assert status == 0, output
    return folder


@pytest.fixture
def finished_stub_project(finished_template: Path, tmp_path: Path) -> Project:
    """A copy of the stub project in which both stages have run."""
    shutil.copytree(finished_template, tmp_path, symlinks=True, dirs_exist_ok=True)
    return Project(tmp_path, environment_in(tmp_path))


def write_stub_project(folder: Path) -> None:
    """Its files and DVC's configuration."""
    for name, text in {
        "stub.py": STUB,
        "dvc.yaml": PIPELINE,
        "params.yaml": (ROOT / "params.yaml").read_text(encoding="utf-8"),
        **{f"stubs/{name}.py": FUNCTION.format(name=name) for name in ("first", "second")},
    }.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (folder / ".dvcignore").write_text(".work\n.prefect\nmlartifacts\n")
    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")


def environment_in(folder: Path) -> dict[str, str]:
    """The variables with which a project's programs are started."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {
        **{
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PREFECT", "MLFLOW", "SSVH", "DVC"))
        },
        "PATH": path,
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_HOME": str(folder / ".prefect"),
    }
