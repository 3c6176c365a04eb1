from __future__ import annotations

from typing import Any

import pytest
import torch

from ssvh_model.clustering.anchors import Granularity, make_anchors
from ssvh_model.losses.objective import Objective
from ssvh_model.losses.reconstruction import frame_errors, reconstruction_loss
from ssvh_model.model.autossvh import AutoSSVH, View, build_model
from tests.ssvh_model.conftest import clustered_features, tiny_config


def test_reconstruction_counts_hidden_frames_only() -> None:
    features = torch.zeros(2, 4, 3)
    reconstruction = torch.arange(24.0).view(2, 4, 3)
    weights = torch.tensor([[1.0, 0, 0, 1], [0, 1, 1, 0]])
    hidden = [(0, 1), (0, 2), (1, 0), (1, 3)]
    naive = sum(float(reconstruction[video, frame].square().mean()) for video, frame in hidden) / len(hidden)
    assert reconstruction_loss(reconstruction, features, weights).item() == pytest.approx(naive, rel=1e-5)
    assert frame_errors(reconstruction, features).shape == (2, 4)


def objective(**changes: Any) -> Objective:
    settings = {
        "reconstruction": 0.5,
        "alpha": 0.3,
        "beta": 0.7,
        "temperature": 0.5,
        "tau_plus": 0.1,
        "negatives": "all",
    }
    return Objective(**{**settings, **changes})


def batch() -> tuple[AutoSSVH, tuple[tuple[View, View], torch.Tensor, torch.Tensor, list[Granularity]]]:
    """A model and what its objective is given for twelve videos."""
    config = tiny_config()
    model = build_model(config.hasher, config.decoder, config.sampler, seed=0)
    features = clustered_features(12).float()
    views = model(features, reversal=1.0, generator=torch.Generator().manual_seed(0))
    anchors = make_anchors(
        model.hasher(features),
        [2, 3],
        iterations=5,
        restarts=1,
        points_per_centroid=50,
        mean_concentration=0.2,
        centres="voting",
        seed=0,
    )
    return model, (views, features, torch.arange(12), anchors)


def test_the_total_is_the_weighted_sum_of_its_terms() -> None:
    _, (views, features, index, anchors) = batch()
    full = objective()(views, features, index, anchors)
    weights = {"reconstruction": 0.5, "view_contrastive": 0.3, "p2set": 0.7}
    torch.testing.assert_close(full.total, sum(weight * full.terms[name] for name, weight in weights.items()))
    assert set(full.named()) >= {"loss", *weights}
    warmup = objective()(views, features, index, [])
    assert "p2set" not in warmup.terms
    torch.testing.assert_close(warmup.total, full.total - 0.7 * full.terms["p2set"])


def test_negative_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="beta -1"):
        objective(beta=-1.0)
    with pytest.raises(ValueError, match="reconstruction or alpha must be above 0"):
        objective(reconstruction=0.0, alpha=0.0)


def test_a_weight_of_0_leaves_the_term_without_any_effect() -> None:
    def gradients(**weights: float) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
        model, arguments = batch()
        losses = objective(**weights)(*arguments)
        losses.total.backward()
        found = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
        return found, {name: value.item() for name, value in losses.named().items()}

    full, terms = gradients()
    assert any(name.startswith("decoder") for name in full) and any(name.startswith("grade") for name in full)

    found, without = gradients(reconstruction=0.0)
    assert not [name for name in found if name.startswith(("decoder", "grade_net"))]
    assert without["loss"] == pytest.approx(0.3 * terms["view_contrastive"] + 0.7 * terms["p2set"], rel=1e-5)
    assert without["reconstruction"] == pytest.approx(terms["reconstruction"], rel=1e-5), (
        "it is measured all the same"
    )

    for weight, term, of_term in (("alpha", "view_contrastive", 0.3), ("beta", "p2set", 0.7)):
        found, without = gradients(**{weight: 0.0})
        assert without["loss"] == pytest.approx(terms["loss"] - of_term * terms[term], rel=1e-5)
        name = "hasher.hash_layer.linear.weight"
        assert not torch.allclose(found[name], full[name]), f"{term} reaches the hasher"
