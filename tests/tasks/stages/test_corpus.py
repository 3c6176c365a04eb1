"""The stage corpus, called as a function."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ssvh_model.errors import UserError
from tasks import paths
from tasks.machine.errors import ServiceAway
from tasks.on_ray import cluster
from tasks.stages.corpus import corpus
from tests.conftest import REPOSITORY
from tests.fuzz.seeds import write_clip
from tests.tasks.experiments.small import write_tiny_params


def test_a_folder_that_leaves_one_video_for_training_is_one_line_before_extraction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_mlflow: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(REPOSITORY / "dvc.yaml", tmp_path)
    shutil.copy(empty_mlflow, tmp_path)
    write_tiny_params(Path("params.yaml"), corpus__source="folder")
    Path("videos").mkdir()
    for number in range(4):
        write_clip(Path(f"videos/{number}.mp4"), "mpeg4")
    with pytest.raises(
        UserError, match=r"corpus: 1 of 4 usable videos for training; allowed are at least 2: add videos"
    ):
        corpus.fn()


def test_labels_that_are_to_select_and_are_not_there_are_one_line_before_extraction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_mlflow: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(REPOSITORY / "dvc.yaml", tmp_path)
    shutil.copy(empty_mlflow, tmp_path)
    shares = {"validation": 0.25, "database": 0.0, "query": 0.0, "validation_groups": [], "query_groups": []}
    for number in range(4):
        write_clip(Path(f"videos/{number}.mp4"), "mpeg4")
    write_tiny_params(Path("params.yaml"), corpus__source="folder", corpus__split=shares, selection="labels")
    with pytest.raises(
        UserError,
        match=r"params.yaml: selection is labels, but no validation video has a label; allowed are auto, label_free and end",
    ):
        corpus.fn()
    write_tiny_params(Path("params.yaml"), corpus__source="folder", corpus__split=shares, selection="auto")
    corpus.fn()
    assert paths.CORPUS_MANIFEST.is_file()


def test_a_ray_cluster_that_does_not_answer_is_one_line_before_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_mlflow: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cluster, "find_spec", lambda name: name)
    shutil.copy(REPOSITORY / "dvc.yaml", tmp_path)
    shutil.copy(empty_mlflow, tmp_path)
    ray = {"address": "127.0.0.1:9", "videos": None}  # a port that nothing listens to
    write_tiny_params(
        Path("params.yaml"), corpus__source="folder", running__extraction="ray", running__ray=ray
    )
    with pytest.raises(ServiceAway, match=r"running\.ray\.address is 127\.0\.0\.1:9, where nothing answers"):
        corpus.fn()
