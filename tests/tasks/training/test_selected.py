"""The state that a pipeline evaluates and registers, after trainings that gain and one that does harm:
stages, MLflow, report and card.
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

import numpy as np
import pytest
import torch
from torch import Tensor

from ssvh_model.errors import UserError
from ssvh_model.features import FeatureFile, FeatureMeta, write_feature_file
from ssvh_model.manifest import Video, write_manifest
from ssvh_model.training.checkpoint import load_hasher, load_history
from ssvh_model.training.selection import select_state
from tasks import paths
from tasks.params.load import load_params
from tasks.training.selected import check_selectable, selected_hasher
from tasks.training.settings import training_session
from tests.conftest import REPOSITORY
from tests.ssvh_model.training.test_agreement import SIZE, kinds
from tests.tasks.experiments.small import write_tiny_params

TRAIN, VALIDATION, QUERY = 160, 40, 40
VIDEOS = TRAIN + VALIDATION + QUERY
PROGRAM = "import sys\nfrom tasks.stage import run_stage\nfor name in sys.argv[1:]:\n    run_stage(name)\n"
STAGES = ("warmup", "clusters@1", "p2set@1", "evaluate", "register")
NETWORK: dict[str, Any] = {
    "model__width": SIZE,
    "model__heads": 4,
    "rounds": {"1": {"after": "warmup", "clusters": [8], "epochs": 2, "refresh_every": 2}},
}
# Training begins with what moves within videos; that is the better start, and these steps leave nothing of
# it.
HARM = {"training__learning_rate": 0.5}
# Here it begins with the worse one of two starts, from which there is much to gain.
GAIN = {
    "model__whitening": 0.0,
    "model__within_video": 1.0,
    "training__learning_rate": 5e-4,
    "losses__gamma": 0.0,
    "warmup__epochs": 8,
}


def write_videos(*, labelled: bool = True) -> None:
    """Features and manifest of videos of eight kinds, which move in ways that tell no kinds apart."""
    source, kind = kinds(VIDEOS, moving=3.0)
    splits = ["train"] * TRAIN + ["validation"] * VALIDATION + ["query"] * QUERY
    labels = [(f"kind {one}",) if labelled else () for one in kind]
    videos = [
        Video(f"video {row}", f"{row}.mp4", labels=labels[row], split=split)
        for row, split in enumerate(splits)
    ]
    write_manifest(paths.FEATURES_MANIFEST, videos)
    write_feature_file(
        paths.FEATURE_FILE,
        source.fetch(np.arange(VIDEOS)).numpy(),
        ids=[video.id for video in videos],
        labels=labels,
        splits=splits,
        meta=FeatureMeta("none", "", 1),
    )


@dataclass
class Project:
    """A project in which the stages after the features are run."""

    folder: Path
    said: str = ""

    def run(self, *stages: str) -> str:
        names = ("PREFECT", "MLFLOW", "SSVH", "DVC")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(names)}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *stages],
            cwd=self.folder,
            env={
                **kept,
                "PYTHONPATH": str(REPOSITORY),
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "DO_NOT_TRACK": "1",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=1200,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def json(self, path: Path) -> Any:
        return json.loads((self.folder / path).read_text())

    def client(self) -> Any:
        from mlflow import MlflowClient

        uri = f"sqlite:///{self.folder}/mlflow.db"
        return MlflowClient(uri, uri)

    def version(self) -> Any:
        return self.client().get_model_version_by_alias("video-hasher", "challenger")

    def state(self) -> Path:
        return self.folder / paths.state("round-1")

    def query_codes(self, hasher: Any) -> Tensor:
        file = FeatureFile(self.folder / paths.FEATURE_FILE)
        codes: Tensor = hasher.codes(file.read(file.rows("query")).float())
        return codes

    def registered_codes(self) -> Tensor:
        from tasks.registry.find_hasher import find_hasher

        return self.query_codes(find_hasher(str(self.version().version), model="video-hasher").load()[0])


def trained(folder: Path, mlflow: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Project:
    monkeypatch.chdir(folder)
    shutil.copy(REPOSITORY / "dvc.yaml", folder)
    shutil.copy(mlflow, folder / "mlflow.db")
    write_tiny_params(folder / "params.yaml", **{**NETWORK, **changes})
    write_videos()
    project = Project(folder)
    project.said = project.run(*STAGES)
    return project


@pytest.mark.slow
def test_a_training_that_does_harm_ends_with_the_weights_of_its_start(
    tmp_path: Path, empty_mlflow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = trained(tmp_path, empty_mlflow, monkeypatch, **HARM)
    evaluation = project.json(paths.EVALUATION)
    selection = evaluation["selection"]
    assert selection["state"] == "start"
    assert set(selection["compared"]) == {"validation_gmap", "label_free_score"}
    assert all(one["start"] > one["end"] for one in selection["compared"].values())

    # What is registered are the weights that a training of this seed begins with.
    session = training_session(load_params(), FeatureFile(paths.FEATURE_FILE))
    begun = session.trainer()
    session.initialize(begun)
    codes = project.registered_codes()
    assert torch.equal(codes, project.query_codes(begun.model.hasher.eval()))
    assert not torch.equal(codes, project.query_codes(load_hasher(project.state())))

    # It is said once while the pipeline runs, and with what to try; then in the report, in MLflow and on the
    # card.
    assert project.said.count("selected is the start of the training") == 1
    from flows.commands.report import short_report

    assert f"  of {selection['text']}; try a higher losses.gamma" in short_report()
    record = project.json(paths.run_record("evaluate"))
    for run in (record["run_id"], record["parent_run_id"]):
        data = project.client().get_run(run).data
        assert data.tags["ssvh.selected"] == "start"
        assert data.tags["ssvh.selection"] == selection["text"]
        assert data.metrics["selected_start"] == 1
        assert data.metrics["start_label_free_score"] > data.metrics["label_free_score"]
    version = project.version()
    assert version.tags["ssvh.selected"] == "start"
    assert selection["text"] in version.description
    # The checks tell what the training has come to; that is not what is registered.
    assert version.tags["ssvh.checks_raised"] == "none"

    # What is measured is what is registered, and another choice trains nothing again.
    before = (project.state() / "model.safetensors").read_bytes()
    write_tiny_params(tmp_path / "params.yaml", **{**NETWORK, **HARM, "selection": "end"})
    assert "selected is" not in project.run("evaluate", "register")
    of_the_end = project.json(paths.EVALUATION)
    assert of_the_end["selection"]["state"] == "end"
    assert evaluation["gmap"] > of_the_end["gmap"]
    assert torch.equal(project.registered_codes(), project.query_codes(load_hasher(project.state())))
    assert (project.state() / "model.safetensors").read_bytes() == before
    assert version.version != project.version().version
    assert "  of the" not in short_report()
    assert project.version().tags["ssvh.checks_raised"] == (
        ", ".join(of_the_end["checks"]["raised"]) or "none"
    )


@pytest.mark.slow
def test_a_training_that_gains_ends_with_the_weights_of_its_end(
    tmp_path: Path, empty_mlflow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = trained(tmp_path, empty_mlflow, monkeypatch, **GAIN)
    selection = project.json(paths.EVALUATION)["selection"]
    assert selection["state"] == "end"
    assert all(one["start"] < one["end"] for one in selection["compared"].values())
    assert torch.equal(project.registered_codes(), project.query_codes(load_hasher(project.state())))
    assert "selected is" not in project.said
    assert project.version().tags["ssvh.selected"] == "end"


def test_a_choice_trains_nothing_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from tasks.pipeline.definition import read_definitions

    shutil.copy(REPOSITORY / "dvc.yaml", tmp_path)
    write_tiny_params(tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    assert {stage.name for stage in read_definitions() if "selection" in stage.parameters} == {"evaluate"}


@pytest.mark.parametrize("labelled", [True, False])
def test_without_labels_the_score_alone_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labelled: bool
) -> None:
    from tasks.training.both_phases import train_warmup

    monkeypatch.chdir(tmp_path)
    write_tiny_params(Path("params.yaml"), **{**NETWORK, **HARM, "warmup__epochs": 1})
    write_videos(labelled=labelled)
    params = load_params()
    session = training_session(params, FeatureFile(paths.FEATURE_FILE))
    warm = train_warmup(session, params, Path("warmup"), lambda row, seconds: None)
    selection = select_state(load_history(warm), params.selection)
    assert selection.state == "start"
    assert len(selection.compared) == 1 + labelled
    hasher, begun = selected_hasher(params, warm), load_hasher(warm, "start")
    for name, value in begun.state_dict().items():
        assert torch.equal(hasher.state_dict()[name], value), name


def test_labels_that_are_not_there_are_refused_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_videos(labelled=False)
    for selection, refused in (("labels", True), ("label_free", False), ("auto", False), ("end", False)):
        write_tiny_params(Path("params.yaml"), **NETWORK, selection=selection)
        params = load_params()
        session = training_session(params, FeatureFile(paths.FEATURE_FILE))
        if refused:
            with pytest.raises(
                UserError,
                match=r"params.yaml: selection is labels, but no validation video has a label; allowed are",
            ):
                check_selectable(params, session)
        else:
            check_selectable(params, session)
