from __future__ import annotations

from typing import Any

import pytest
import torch

from ssvh_model.clustering.anchors import Granularity, make_anchors
from ssvh_model.losses.objective import Objective
from ssvh_model.losses.reconstruction import reconstruction_loss
from ssvh_model.losses.similarity import similarity_loss
from ssvh_model.model.autossvh import AutoSSVH, View, build_model
from tests.ssvh_model.conftest import clustered_features, tiny_config


def test_reconstruction_counts_hidden_frames_only() -> None:
    errors = torch.arange(8.0).view(2, 4)
    weights = torch.tensor([[1.0, 0, 0, 1], [0, 1, 1, 0]])
    hidden = [(0, 1), (0, 2), (1, 0), (1, 3)]
    naive = sum(float(errors[video, frame]) for video, frame in hidden) / len(hidden)
    assert reconstruction_loss(errors, weights).item() == pytest.approx(naive, rel=1e-5)


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


def batch() -> tuple[AutoSSVH, tuple[tuple[View, View], torch.Tensor, list[Granularity]]]:
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
    return model, (views, torch.arange(12), anchors)


def test_the_total_is_the_weighted_sum_of_its_terms() -> None:
    _, (views, index, anchors) = batch()
    full = objective()(views, index, anchors)
    weights = {"reconstruction": 0.5, "view_contrastive": 0.3, "p2set": 0.7}
    torch.testing.assert_close(full.total, sum(weight * full.terms[name] for name, weight in weights.items()))
    assert set(full.named()) >= {"loss", *weights}
    warmup = objective()(views, index, [])
    assert "p2set" not in warmup.terms and "similarity" not in full.terms
    torch.testing.assert_close(warmup.total, full.total - 0.7 * full.terms["p2set"])


def test_the_similarity_loss_looks_at_the_start_s_codes_of_the_batch() -> None:
    _, (views, _, _) = batch()
    index = torch.arange(12) + 3
    start = torch.randn(20, 8, generator=torch.Generator().manual_seed(5)).half()
    with_it = objective(gamma=2.0)(views, index, [], start)
    first, second = (view.soft_codes for view in views)
    torch.testing.assert_close(
        with_it.terms["similarity"], similarity_loss(first, second, start[3:15].float())
    )
    without = objective()(views, index, [])
    torch.testing.assert_close(with_it.total, without.total + 2.0 * with_it.terms["similarity"])
    with pytest.raises(ValueError, match="the similarity loss needs the codes of the start"):
        objective(gamma=2.0)(views, index, [])


def test_negative_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="beta -1"):
        objective(beta=-1.0)
    with pytest.raises(ValueError, match="reconstruction, alpha or gamma must be above 0"):
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


def test_a_term_that_a_pass_leaves_out_is_measured_and_has_no_gradient() -> None:
    _, given = batch()
    cyclic = objective(schedule="cyclic", alpha=0.3)
    clusters, contrast = cyclic.passes(warmup=False, clustered=True)
    without = {clusters: objective(alpha=0.0), contrast: objective(beta=0.0)}
    for left_out, wanted in without.items():
        found = cyclic(*given, left_out=left_out)
        assert torch.equal(found.total, wanted(*given).total)
        assert found.terms.keys() >= {"view_contrastive", "p2set"}


def test_what_a_cycle_is_made_of() -> None:
    clusters, contrast = ("view_contrastive",), ("p2set",)
    assert objective().passes(warmup=False, clustered=True) == ((),)
    cyclic = objective(schedule="cyclic")
    assert cyclic.passes(warmup=True, clustered=False) == (clusters,)
    assert cyclic.passes(warmup=False, clustered=True) == (clusters, contrast)
    assert cyclic.passes(warmup=False, clustered=False) == (contrast,)
    assert objective(schedule="cyclic", alpha=0.0).passes(warmup=False, clustered=True) == (clusters,)
    assert objective(schedule="cyclic", alpha=0.0).passes(warmup=False, clustered=False) == ((),)
    # A warm-up of nothing but the contrast has the contrast.
    assert objective(schedule="cyclic", reconstruction=0.0).passes(warmup=True, clustered=False) == ((),)
    with pytest.raises(ValueError, match="schedule 'by turns'; allowed are together and cyclic"):
        objective(schedule="by turns")
