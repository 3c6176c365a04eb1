"""The stage corpus, called as a function."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ssvh_model.errors import UserError
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
