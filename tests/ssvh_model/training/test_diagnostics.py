from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from ssvh_model.model.grade_net import GradeNet
from ssvh_model.training.diagnostics import hidden_frame_errors, mean_rank_correlation, sampler_state
from ssvh_model.training.trainer import Trainer
from tests.ssvh_model.conftest import FRAMES, clustered_features


class Fixed(GradeNet):
    """Scores that are given, to know what the figures must be."""

    def __init__(self, scores: torch.Tensor) -> None:
        super().__init__(24)
        self.given = scores

    def forward(self, embedded: torch.Tensor) -> torch.Tensor:
        return self.given.expand(len(embedded), FRAMES)


@pytest.mark.parametrize("visible", [2, 4])
def test_uniform_scores_show_as_no_spread_and_full_entropy(
    make_trainer: Callable[..., Trainer], visible: int
) -> None:
    model = make_trainer().model
    model.visible = visible
    model.grade_net = Fixed(torch.full((FRAMES,), 0.5))
    state = sampler_state(model, clustered_features(20).float(), draws=4, seed=0)
    assert state["score_spread"] == pytest.approx(0, abs=1e-6)
    assert state["selection_entropy"] > 0.999
    assert state["score_error_correlation"] == 0


def test_scores_that_decide_show_as_spread_and_low_entropy(make_trainer: Callable[..., Trainer]) -> None:
    model = make_trainer().model
    model.grade_net = Fixed(torch.tensor([100.0, 100, 100, 100, 0, 0, 0, 0]))
    state = sampler_state(model, clustered_features(20).float(), draws=16, seed=0)
    assert state["score_spread"] == pytest.approx(50, rel=1e-3)
    assert state["selection_entropy"] == pytest.approx(2 / 3, rel=1e-3), "log 4 / log 8"


def test_noise_that_drowns_the_scores_shows_as_full_entropy_whatever_their_spread(
    make_trainer: Callable[..., Trainer],
) -> None:
    model = make_trainer().model
    model.grade_net = Fixed(torch.linspace(0.05, 0.95, FRAMES))
    entropy = []
    for noise in (0.1, 10.0):
        model.sampler = replace(model.sampler, noise=noise)
        state = sampler_state(model, clustered_features(20).float(), draws=4, seed=0)
        assert state["score_spread"] > 0.25
        entropy.append(state["selection_entropy"])
    assert entropy[0] < 0.995 and entropy[1] > 0.998


def test_scores_that_follow_the_error_correlate_with_it(make_trainer: Callable[..., Trainer]) -> None:
    trainer = make_trainer()
    features = clustered_features(10).float()
    features[:, 2] *= 8  # a frame that is hard to reconstruct in every video
    errors = hidden_frame_errors(
        trainer.model, features, draws=20, generator=torch.Generator().manual_seed(0)
    ).mean(0)
    assert errors.argmax() == 2
    for direction, sign in ((1.0, 1), (-1.0, -1)):
        trainer.model.grade_net = Fixed(direction * errors)
        state = sampler_state(trainer.model, features, draws=20, seed=1)
        assert sign * state["score_error_correlation"] > 0.5


def test_the_adversary_learns_to_hide_what_is_hard(make_trainer: Callable[..., Trainer]) -> None:
    features = clustered_features(40)
    hard = torch.arange(40) % FRAMES
    # One frame of each video is noise that nothing else tells of.
    features[torch.arange(40), hard] = (
        3 * torch.randn(40, features.shape[-1], generator=torch.Generator().manual_seed(1)).half()
    )
    score_of_hard = {}
    for kind in ("adversarial", "cooperative"):
        trainer = make_trainer(kind, features=features, feature_dropout=0.0, learning_rate=3e-3)
        for _ in range(40):
            trainer.train_epoch()
        with torch.no_grad():
            scores = trainer.model.scores(trainer.model.hasher.embed(features.float()))
        centred = scores - scores.mean(dim=1, keepdim=True)
        score_of_hard[kind] = centred[torch.arange(40), hard].mean().item()
    assert score_of_hard["adversarial"] < -0.05
    assert score_of_hard["adversarial"] < score_of_hard["cooperative"]


def test_rank_correlation_is_spearman_s_also_with_ties_and_gaps() -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(0, 6, (20, 25)).astype(np.float32)
    second = rng.normal(size=(20, 25)).round(1)
    second[rng.random(second.shape) < 0.2] = np.nan
    expected = [
        spearmanr(one, other, nan_policy="omit").statistic for one, other in zip(first, second, strict=True)
    ]
    assert mean_rank_correlation(first, second) == pytest.approx(np.mean(expected), abs=1e-12)
    assert mean_rank_correlation(first[:, :2], second[:, :2]) == 0  # two are too few to say
