"""The failure checks of a short, real training: stages, MLflow, Prefect, the evaluation's file and the
report.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from ssvh_model.features import FeatureMeta, write_feature_file
from ssvh_model.manifest import Video, write_manifest
from ssvh_model.training.failure_bounds import CHECKS
from tests.conftest import REPOSITORY
from tests.ssvh_model.conftest import clustered_features
from tests.tasks.params.test_load import SHIPPED, changed, message

STAGES = ("warmup", "clusters@1", "p2set@1", "evaluate")
PROGRAM = "import sys\nfrom tasks.stage import run_stage\nfor name in sys.argv[1:]:\n    run_stage(name)\n"


@pytest.mark.parametrize("threshold", sorted(SHIPPED["checks"]))
def test_thresholds_have_ranges(tmp_path: Path, threshold: str) -> None:
    found = message(tmp_path, changed(f"checks.{threshold}", -1))
    assert found.startswith(f"checks.{threshold} is -1; allowed is")


@dataclass
class Project:
    folder: Path
    environment: dict[str, str]

    def run(self, *command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=280,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def set(self, **checks: float) -> None:
        content = {
            **SHIPPED,
            "running": {**SHIPPED["running"], "checkpoint_every": 2},
            "model": {
                **SHIPPED["model"],
                **{"bits": 16, "width": 24, "heads": 3, "decoder_width": 24, "decoder_heads": 2},
                "start": "random",  # features of 12 numbers have no 16 principal axes
            },
            "training": {**SHIPPED["training"], "batch_size": 16, "validate_every": 1},
            "warmup": {"epochs": 4},
            "rounds": {"1": {"after": "warmup", "clusters": [4], "epochs": 3, "refresh_every": 2}},
            "checks": {**SHIPPED["checks"], **checks},
        }
        with open(self.folder / "params.yaml", "w") as file:
            YAML().dump(content, file)

    def json(self, path: str) -> Any:
        return json.loads((self.folder / path).read_text())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, prefect_api: str) -> tuple[Project, str]:
    """A trained and evaluated project, two of whose thresholds can't be met, and what its stages said."""
    folder = tmp_path_factory.mktemp("checked")
    (folder / "dvc.yaml").write_text((REPOSITORY / "dvc.yaml").read_text())
    videos = [
        Video(
            id=f"video-{row}",
            path=f"{row}.mp4",
            labels=(f"kind-{row % 4}",),
            split="train" if row < 40 else "validation" if row < 50 else "query",
        )
        for row in range(60)
    ]
    write_manifest(folder / "data/features/manifest.csv", videos)
    write_feature_file(
        folder / "data/features/features.h5",
        clustered_features(60).numpy(),
        ids=[video.id for video in videos],
        labels=[video.labels for video in videos],
        splits=[video.split for video in videos],
        meta=FeatureMeta("", "", 0),
    )
    names = ("PREFECT", "MLFLOW", "SSVH", "DVC")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(names)}
    project = Project(
        folder,
        {
            **environment,
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "1",
            "PREFECT_API_URL": prefect_api,
            "PREFECT_HOME": str(folder / ".prefect"),
        },
    )
    # A spread of 0.5 is the most that scores between 0 and 1 can have; one code a video is the most that
    # codes can have.
    project.set(score_spread=0.5, giant_cluster=0.0, gap_growth=100, patience=2)
    return project, project.run("-c", PROGRAM, *STAGES)


def child(project: Project, stage: str) -> Any:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{project.folder}/mlflow.db")
    return client, project.json(f"runs/{stage}.json")


@pytest.mark.slow
def test_a_warning_is_said_once_as_it_arises(trained: tuple[Project, str]) -> None:
    _, output = trained
    said = [line for line in output.splitlines() if "warning: grade_net_uniform" in line]
    assert len(said) == 1, "not in every epoch, and not again in the round after"
    assert "score_spread is" in said[0] and "below 0.5 since epoch 1" in said[0]
    assert "try a higher sampler.reversal" in said[0]
    second, third = output.index("epoch 2:"), output.index("epoch 3:")
    assert second < output.index(said[0]) < third


@pytest.mark.slow
def test_mlflow_has_every_figure_and_state_over_time(trained: tuple[Project, str]) -> None:
    project, _ = trained
    client, record = child(project, "warmup")
    history = client.get_metric_history(record["run_id"], "checks/grade_net_uniform")
    assert [(point.step, point.value) for point in history] == [(1, 0), (2, 1), (3, 1), (4, 1)]
    metrics = client.get_run(record["run_id"]).data.metrics
    for name in (
        "score_spread",
        "check_figures/score_spread",
        "largest_absolute_balance",
        "largest_absolute_correlation",
        "code_diversity",
        "reconstruction_gap",
        "check_figures/wanted_score_error_correlation",
    ):
        assert name in metrics, name
    for name in ("dead_bits", "duplicate_bits", "collapsed_codes", "growing_gap", "score_unrelated"):
        assert f"checks/{name}" in metrics, name
    assert metrics["check_figures/score_spread"] == metrics["score_spread"]

    _, record = child(project, "p2set-1")
    metrics = client.get_run(record["run_id"]).data.metrics
    assert {"checks/empty_clusters", "checks/giant_cluster", "checks/plateau_before_p2set"} <= set(metrics)
    history = client.get_metric_history(record["run_id"], "checks/grade_net_uniform")
    assert [(point.step, point.value) for point in history] == [(5, 1), (6, 1), (7, 1)]


@pytest.mark.slow
def test_run_and_parent_are_tagged_with_what_is_raised(trained: tuple[Project, str]) -> None:
    project, _ = trained
    raised = project.json("metrics/evaluation.json")["checks"]["raised"]
    assert "grade_net_uniform" in raised
    client, record = child(project, "evaluate")
    for run in (record["run_id"], record["parent_run_id"]):
        assert client.get_run(run).data.tags["ssvh.checks_raised"] == ", ".join(raised)
    _, record = child(project, "warmup")
    assert "grade_net_uniform" in client.get_run(record["run_id"]).data.tags["ssvh.checks_raised"]


@pytest.mark.slow
def test_prefect_has_a_table_a_stage(trained: tuple[Project, str], prefect_api: str) -> None:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    project, _ = trained
    keys = {"warmup": "checks-warmup", "p2set-1": "checks-p2set-1", "evaluate": "checks-evaluate"}
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=list(keys.values())))
    with SyncPrefectClient(api=prefect_api) as client:
        by_task_run = {
            (artifact.key, str(artifact.task_run_id)): artifact
            for artifact in client.read_artifacts(artifact_filter=wanted)
        }
    found = {}
    for stage, key in keys.items():
        _, record = child(project, stage)
        found[key] = by_task_run[key, record["ssvh.prefect_task_run"]]
    artifact = found["checks-evaluate"]
    rows = {row["check"]: row for row in json.loads(artifact.data)}
    assert list(rows) == list(CHECKS)
    assert rows["grade_net_uniform"]["state"] == "raised"
    assert "sampler.reversal" in artifact.description


@pytest.mark.slow
def test_a_threshold_judges_again_without_training_again(trained: tuple[Project, str]) -> None:
    from tasks.pipeline.definition import read_definitions

    project, _ = trained
    before = os.getcwd()
    os.chdir(project.folder)
    try:
        dependent = {stage.name for stage in read_definitions() if "checks" in stage.parameters}
    finally:
        os.chdir(before)
    assert dependent == {"evaluate"}

    weights = (project.folder / "states/round-1/model.safetensors").read_bytes()
    project.set(score_spread=0.0, giant_cluster=1.0, gap_growth=100, selection_entropy=1.0)
    project.run("-c", PROGRAM, "evaluate")
    checks = project.json("metrics/evaluation.json")["checks"]
    assert "grade_net_uniform" not in checks["raised"]
    assert checks["states"]["grade_net_uniform"]["threshold"] == 0.0
    assert (project.folder / "states/round-1/model.safetensors").read_bytes() == weights
    client, record = child(project, "evaluate")
    tags = client.get_run(record["run_id"]).data.tags
    assert tags["ssvh.checks_raised"] == (", ".join(checks["raised"]) or "none")


@pytest.mark.slow
def test_the_report_has_a_line_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: tuple[Project, str]
) -> None:
    from flows.commands.report import short_report

    project, _ = trained
    evaluation = project.json("metrics/evaluation.json")
    checks = evaluation["checks"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "metrics").mkdir()
    for warnings, heading in ((["a: is 3; try b"], "failure checks: 1 of"), ([], "failure checks: 0 of")):
        shown = {**evaluation, "checks": {**checks, "raised": ["a"] * len(warnings), "warnings": warnings}}
        (tmp_path / "metrics/evaluation.json").write_text(json.dumps(shown))
        report = short_report()
        assert heading in report
        assert all(f"  {warning}\n" in report for warning in warnings)


@pytest.mark.slow
def test_the_measured_figures_of_a_stage_are_finite(trained: tuple[Project, str]) -> None:
    from ssvh_model.training.checkpoint import load_history

    history = load_history(trained[0].folder / "states/round-1")
    assert len(history) == 7
    for row in history:
        assert all(np.isfinite(value) for value in row.values() if not isinstance(value, str))
