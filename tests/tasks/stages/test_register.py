"""Stage register killed, or failing, between any two of its steps: real processes, and MLflow's own SQLite
store.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ssvh_model.features import FeatureFile
from ssvh_model.manifest import Video, write_manifest
from tasks import paths
from tasks.params.load import load_params
from tasks.training.both_phases import train_warmup
from tasks.training.settings import training_session
from tests.conftest import REPOSITORY
from tests.tasks.experiments.small import write_tiny_features, write_tiny_params

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

RUN = """
import importlib, os, signal, sys
from tasks.stage import main

place, when = sys.argv[1:]
if place:
    module, kind, name = place.split(":")
    kind = getattr(importlib.import_module(module), kind)
    real = getattr(kind, name)

    def interrupted(*arguments, **named):
        if when == "fails":
            raise RuntimeError("the disk is on fire")
        if when == "after":
            real(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(kind, name, interrupted)
sys.exit(main(["register"]))
"""
CLIENT = "mlflow:MlflowClient"
CREATE = "mlflow.store.model_registry.sqlalchemy_store:SqlAlchemyStore:create_model_version"
MOMENTS = [
    (f"{CLIENT}:log_model_artifacts", "before"),
    (CREATE, "before"),
    (CREATE, "after"),
    (f"{CLIENT}:set_registered_model_alias", "after"),
]
FAILURES = [
    f"{CLIENT}:update_model_version",  # once the version is there
    "tasks.pipeline.work:Work:note_published",  # once everything else is done
]


@pytest.fixture
def trained(project: Path, empty_mlflow: Path) -> Path:
    """A project in which everything but the registration is done."""
    write_tiny_params(project / "params.yaml", rounds={}, warmup__epochs=1)
    shutil.copy(REPOSITORY / "dvc.yaml", project)
    shutil.copy(empty_mlflow, project / "mlflow.db")
    write_tiny_features(project / paths.FEATURE_FILE)
    videos = [Video(f"video {row}", f"{row}.mp4", labels=("a",), split="train") for row in range(3)]
    write_manifest(project / paths.FEATURES_MANIFEST, videos)
    params = load_params()
    session = training_session(params, FeatureFile(paths.FEATURE_FILE))
    warm = train_warmup(session, params, Path("checkpoints"), lambda row, seconds: None)
    shutil.copytree(warm, "states/warmup")
    found: dict[str, Any] = {"gmap": 0.3, "map_at_k": {str(k): 0.3 for k in (5, 20, 40, 60, 80, 100)}}
    evaluation = {
        "bits": 16,
        **found,
        "yardsticks": {"itq": found, "float": found},
        "n_query": 80,
        "n_database": 320,
        "fine": None,
        "reasons": {},
        "code_statistics": {},
        "selection": {"state": "end", "text": "the end of the training", "compared": {}},
        "checks": {"raised": [], "warnings": [], "states": {"bit_balance": {"state": "fine"}}},
    }
    paths.EVALUATION.parent.mkdir()
    paths.EVALUATION.write_text(json.dumps(evaluation))
    return project


def register(place: str = "", when: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", RUN, place, when],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def client() -> Any:
    from mlflow import MlflowClient

    uri = f"sqlite:///{Path.cwd()}/mlflow.db"
    return MlflowClient(uri, uri)


def runs() -> list[Any]:
    ids = [experiment.experiment_id for experiment in client().search_experiments()]
    return sorted(client().search_runs(ids), key=lambda run: run.info.start_time)


def stage_runs() -> list[Any]:
    return [run for run in runs() if run.info.run_name == "register"]


def test_one_result_is_one_version_whenever_the_stage_is_killed(trained: Path) -> None:
    for place, when in MOMENTS:
        killed = register(place, when)
        assert killed.returncode == -signal.SIGKILL, (place, when, killed.stdout, killed.stderr)
        assert len(client().search_model_versions("name = 'video-hasher'")) <= 1, (place, when)
    ended = register()
    assert ended.returncode == 0, ended.stderr
    (version,) = client().search_model_versions("name = 'video-hasher'")
    assert "GMAP" in version.description
    assert client().get_model_version_by_alias("video-hasher", "challenger").version == version.version
    record = json.loads(paths.REGISTERED_VERSION.read_text())
    assert (record["version"], record["run_id"]) == (str(version.version), version.run_id)
    *killed_runs, last = stage_runs()
    assert last.info.status == "FINISHED"
    assert {run.info.status for run in killed_runs} == {"KILLED"}
    assert last.data.tags["ssvh.model_version"] == str(version.version)

    # Of what was logged before, in part, nothing is left to be seen; the version's files are whole.
    experiments = [one.experiment_id for one in client().search_experiments()]
    (logged,) = client().search_logged_models(experiments)
    assert version.source == f"models:/{logged.model_id}"
    from tasks.registry.find_hasher import find_hasher

    assert find_hasher("challenger", model="video-hasher").version == str(version.version)


def test_a_registration_that_fails_shows_as_failed_and_the_next_one_goes_on(trained: Path) -> None:
    for place in FAILURES:
        failed = register(place, "fails")
        assert failed.returncode == 1 and "the disk is on fire" in failed.stderr
    assert {run.info.status for run in runs()} == {"FAILED"}
    ended = register()
    assert ended.returncode == 0, ended.stderr
    assert stage_runs()[-1].info.status == "FINISHED"
    assert len(client().search_model_versions("name = 'video-hasher'")) == 1
