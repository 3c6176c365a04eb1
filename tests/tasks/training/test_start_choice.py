"""The start that a training chooses, and what it keeps of it, from params.yaml to the checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ssvh_model.features import FeatureFile, FeatureMeta, write_feature_file
from ssvh_model.training.checkpoint import restore_trainer
from ssvh_model.training.figures import (
    CLUSTER_AGREEMENT,
    LABEL_FREE_SCORE,
    START_AGREEMENT,
    START_LABEL_FREE_SCORE,
    START_WITHIN_VIDEO,
)
from ssvh_model.training.session import TrainingSession
from tasks.params.load import load_params
from tasks.params.sections import Params
from tasks.training.both_phases import train_rounds, train_warmup
from tasks.training.settings import training_session
from tests.ssvh_model.training.test_agreement import SIZE, kinds
from tests.tasks.experiments.small import write_tiny_params

VIDEOS = 160


@pytest.fixture
def moving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project's folder whose videos move in ways that tell no kinds apart."""
    monkeypatch.chdir(tmp_path)
    source, kind = kinds(VIDEOS, moving=3.0)
    write_feature_file(
        Path("features.h5"),
        source.fetch(np.arange(VIDEOS)).numpy(),
        ids=[f"video {row}" for row in range(VIDEOS)],
        labels=[(f"kind {one}",) for one in kind],
        splits=["train"] * VIDEOS,
        meta=FeatureMeta("none", "", 1),
    )


def session(**changes: Any) -> tuple[TrainingSession, Params]:
    write_tiny_params(Path("params.yaml"), model__width=SIZE, model__heads=4, **changes)
    params = load_params()
    return training_session(params, FeatureFile(Path("features.h5"))), params


def warmed_up(name: str, **changes: Any) -> tuple[TrainingSession, Params, Path, list[dict[str, Any]]]:
    training, params = session(**changes)
    rows: list[dict[str, Any]] = []
    state = train_warmup(training, params, Path(name), lambda row, seconds: rows.append(row))
    return training, params, state, rows


def test_params_yaml_has_the_start_chosen_and_says_which(moving: None) -> None:
    _, _, _, chosen = warmed_up("chosen")
    assert chosen[0][START_WITHIN_VIDEO] > 0
    assert not any(START_AGREEMENT in row for row in chosen[1:]), "said once"
    _, _, _, plain = warmed_up("plain", model__whitening=0.0, model__within_video=None)
    assert START_AGREEMENT not in plain[0]
    assert chosen[0][CLUSTER_AGREEMENT] > plain[0][CLUSTER_AGREEMENT]


def test_all_phases_keep_near_the_codes_of_the_start(moving: None) -> None:
    training, params, warm, _ = warmed_up("warmup", losses__evened=None)
    last = train_rounds(training, params, warm, Path("rounds"), lambda row, seconds: None)
    found = []
    for state in (warm, last):
        trainer = training.trainer()
        restore_trainer(state, trainer)
        assert trainer.first_codes is not None
        found.append(trainer.first_codes)
    begun = training.trainer()
    training.initialize(begun)
    assert begun.first_codes is not None
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], begun.first_codes)


@pytest.mark.slow
def test_where_the_start_evens_videos_out_all_phases_have_other_weights(moving: None) -> None:
    training, params, warm, rows = warmed_up("evened")
    assert "similarity" not in rows[0]
    for state in (warm, train_rounds(training, params, warm, Path("rounds"), lambda row, seconds: None)):
        trainer = training.trainer()
        assert (trainer.objective.alpha, trainer.objective.gamma) == (
            params.losses.alpha,
            params.losses.gamma,
        )
        restore_trainer(state, trainer)
        assert params.losses.evened is not None
        assert trainer.objective.alpha == params.losses.evened.alpha * params.losses.alpha
        assert trainer.objective.gamma == 0
    for name, changes in (
        ("not wanted", {"losses__evened": None}),
        ("plain", {"model__whitening": 0.0, "model__within_video": None}),
    ):
        _, _, _, rows = warmed_up(name, **changes)
        assert "similarity" in rows[0]


def test_without_its_weight_nothing_is_kept_near_the_start(moving: None) -> None:
    _, _, _, rows = warmed_up("without", losses__gamma=0.0)
    assert "similarity" not in rows[0]


def test_codes_are_scored_without_labels_beside_their_start(moving: None) -> None:
    training, _, state, rows = warmed_up("scored", losses__gamma=0.0)
    assert START_LABEL_FREE_SCORE in rows[0] and LABEL_FREE_SCORE in rows[-1]
    assert not any(START_LABEL_FREE_SCORE in row for row in rows[1:]), "said once"
    trainer = training.trainer()
    restore_trainer(state, trainer)
    again, _ = session(losses__gamma=0.0)
    assert again.measure(trainer)[LABEL_FREE_SCORE] == rows[-1][LABEL_FREE_SCORE], "also after a kill"
    _, _, _, rows = warmed_up("random", losses__gamma=0.0, model__start="random")
    assert LABEL_FREE_SCORE not in rows[-1], "there is no start to hold them against"


@pytest.mark.slow
def test_the_similarity_loss_keeps_cosines(moving: None) -> None:
    last = {}
    for gamma in (0.001, 20.0):
        _, _, _, rows = warmed_up(
            f"{gamma}",
            losses__gamma=gamma,
            losses__evened=None,
            warmup__epochs=8,
            training__learning_rate=2e-3,
        )
        last[gamma] = rows[-1]["similarity"]
    assert last[20.0] < 0.95 * last[0.001]
