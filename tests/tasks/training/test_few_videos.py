"""Trainings on a handful of videos, with the cluster counts and the bits of params.yaml."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ssvh_model.errors import UserError
from ssvh_model.features import FeatureFile, FeatureMeta, write_feature_file
from ssvh_model.training.checkpoint import load_hasher
from tasks.params.load import load_params
from tasks.training.both_phases import train_rounds, train_warmup
from tasks.training.settings import training_session
from tests.tasks.experiments.small import features, write_tiny_params


def test_too_few_frames_to_hide_some_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_feature_file(
        Path("features.h5"),
        features(4)[:, :2],
        ids=list("abcd"),
        labels=[()] * 4,
        splits=["train"] * 4,
        meta=FeatureMeta("none", "", 1),
    )
    write_tiny_params(Path("params.yaml"), sampler__mask_ratio=0.8)
    with pytest.raises(UserError, match=r"^features\.h5: .* 2 frames .* sampler\.mask_ratio is 0\.8, .* 0 "):
        training_session(load_params(), FeatureFile(Path("features.h5")))


@pytest.mark.parametrize("videos", [2, 3, 10])
@pytest.mark.parametrize("training_bits", [None, "by_length"])
def test_any_number_of_videos_from_two_on_makes_a_hasher(
    videos: int, training_bits: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_feature_file(
        Path("features.h5"),
        features(videos),
        ids=[f"video {row}" for row in range(videos)],
        labels=[()] * videos,
        splits=["train"] * videos,
        meta=FeatureMeta("none", "", 1),
    )
    rounds = {"1": {"after": "warmup", "clusters": [16, 32], "epochs": 2, "refresh_every": 1}}
    write_tiny_params(Path("params.yaml"), model__bits=64, model__training_bits=training_bits, rounds=rounds)
    params = load_params()
    session = training_session(params, FeatureFile(Path("features.h5")))
    warm = train_warmup(session, params, Path("warmup"), lambda row, seconds: None)
    state = train_rounds(session, params, warm, Path("rounds"), lambda row, seconds: None)
    codes = load_hasher(state).codes(session.videos.fetch(np.arange(videos)).float()).numpy()
    assert len(np.unique(codes, axis=0)) > 1, "videos of two kinds have two codes"
