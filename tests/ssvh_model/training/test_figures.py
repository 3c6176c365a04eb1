from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from ssvh_model.clustering.anchors import Granularity
from ssvh_model.training.figures import cluster_figures, code_figures, gap_figures
from ssvh_model.training.trainer import Trainer
from tests.ssvh_model.conftest import clustered_features

# All 16 codes of 4 bits: every bit splits them in halves, no two bits agree more often than not.
ALL_CODES = np.array([[1 if row >> bit & 1 else -1 for bit in range(4)] for row in range(16)], dtype=np.int8)


def test_codes_that_use_all_their_bits() -> None:
    assert code_figures(ALL_CODES) == {
        "constant_bits": 0,
        "duplicate_bits": 0,
        "largest_absolute_balance": 0,
        "largest_absolute_correlation": 0,
        "code_diversity": pytest.approx(1),
    }


def test_one_dead_bit_shows() -> None:
    codes = ALL_CODES.copy()
    codes[:, 2] = 1
    figures = code_figures(codes)
    assert figures["constant_bits"] == figures["largest_absolute_balance"] == 1
    assert figures["largest_absolute_correlation"] == 0, "a dead bit is no duplicate"
    assert figures["code_diversity"] == pytest.approx(7 / 15)
    codes[0, 2] = -1
    figures = code_figures(codes)
    assert figures["constant_bits"] == 0
    assert figures["largest_absolute_balance"] == pytest.approx(14 / 16)


@pytest.mark.parametrize("sign", [1, -1])
def test_one_pair_of_bits_that_always_agree_or_disagree_shows(sign: int) -> None:
    codes = ALL_CODES.copy()
    codes[:, 3] = sign * codes[:, 0]
    figures = code_figures(codes)
    assert figures["duplicate_bits"] == 1
    assert figures["largest_absolute_correlation"] == pytest.approx(1)
    assert figures["largest_absolute_balance"] == 0


def test_codes_that_most_videos_share_are_not_diverse_however_different_the_rest_is() -> None:
    rng = np.random.default_rng(0)
    codes = np.ones((1000, 64), dtype=np.int8)
    codes[:50] = rng.choice([-1, 1], size=(50, 64))
    assert code_figures(codes)["code_diversity"] < 0.002
    two = np.where(np.arange(1000)[:, None] % 2, 1, -1).repeat(64, axis=1).astype(np.int8)
    assert code_figures(two)["code_diversity"] == pytest.approx(1 / 999)
    assert code_figures(codes[50:])["code_diversity"] == pytest.approx(0)
    assert code_figures(codes[:1])["code_diversity"] == 1


def test_the_longest_codes_have_figures() -> None:
    codes = np.random.default_rng(0).choice([-1, 1], size=(10, 4096)).astype(np.int8)
    assert code_figures(codes)["code_diversity"] == pytest.approx(1)


def granularity(*sizes: int) -> Granularity:
    assignments = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    return Granularity(torch.ones(len(sizes), 8), assignments, torch.ones(len(sizes)))


def test_clusters_even_empty_and_giant() -> None:
    assert cluster_figures([]) == {}
    assert cluster_figures([granularity(5, 5, 5, 5)]) == {"empty_clusters": 0, "giant_cluster": 0}
    assert cluster_figures([granularity(0, 0, 0, 20)]) == {"empty_clusters": 0.75, "giant_cluster": 1}
    worst = cluster_figures([granularity(5, 5, 5, 5), granularity(4, 16), granularity(0, 10, 10)])
    assert worst["empty_clusters"] == pytest.approx(1 / 3)
    assert worst["giant_cluster"] == pytest.approx(0.6)
    assert cluster_figures([granularity(7)])["giant_cluster"] == 0, "one cluster can't be uneven"


def test_there_is_no_gap_between_videos_and_themselves_and_none_before_training(
    make_trainer: Callable[..., Trainer],
) -> None:
    model = make_trainer().model
    features = clustered_features(40).float()
    settings = {"temperature": 0.5, "tau_plus": 0.1, "draws": 2, "seed": 0}
    same = gap_figures(model, features, features, **settings)
    assert same == {"reconstruction_gap": 0, "view_contrastive_gap": 0}
    before = gap_figures(model, features[:20], features[20:], **settings)
    assert abs(before["reconstruction_gap"]) < 0.1
    with pytest.raises(ValueError, match="alike"):
        gap_figures(model, features, features[:20], **settings)


def test_videos_that_are_learnt_by_heart_open_a_gap(make_trainer: Callable[..., Trainer]) -> None:
    # Noise has nothing in common between videos: what is learnt of it is learnt by heart.
    noise = torch.randn(80, 1, 12, generator=torch.Generator().manual_seed(0)).expand(80, 8, 12).half()
    trainer = make_trainer(features=noise[:16], feature_dropout=0.0, learning_rate=3e-3)
    settings = {"temperature": 0.5, "tau_plus": 0.1, "draws": 2, "seed": 0}
    gaps = []
    for _ in range(3):
        for _ in range(40):
            trainer.train_epoch()
        gap = gap_figures(trainer.model, noise[:16].float(), noise[16:32].float(), **settings)
        gaps.append(gap["reconstruction_gap"])
    assert gaps[0] < gaps[1] < gaps[2]
    assert gaps[2] > 0.3


def test_measuring_changes_nothing(make_trainer: Callable[..., Trainer]) -> None:
    trainer = make_trainer()
    features = clustered_features(10).float()
    trainer.model.train()
    noise, chance = trainer.state()["noise"], torch.get_rng_state()
    weights = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    first = gap_figures(
        trainer.model, features, features.flip(0), temperature=0.5, tau_plus=0.1, draws=2, seed=0
    )
    assert trainer.model.training
    assert torch.equal(noise, trainer.state()["noise"]) and torch.equal(chance, torch.get_rng_state())
    assert all(torch.equal(weights[name], value) for name, value in trainer.model.state_dict().items())
    again = gap_figures(
        trainer.model, features, features.flip(0), temperature=0.5, tau_plus=0.1, draws=2, seed=0
    )
    assert first == again and math.isfinite(first["view_contrastive_gap"])
