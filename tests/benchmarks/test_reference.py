"""The straightforward versions that the product is timed against give what the product gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.reference import evaluation, training
from benchmarks.reference.clustering import reference_clusters
from ssvh_model.clustering.anchors import Granularity, make_anchors
from ssvh_model.clustering.concentration import concentration
from ssvh_model.clustering.voting import vote
from ssvh_model.losses.objective import Objective
from ssvh_model.model.autossvh import build_model
from ssvh_model.retrieval.evaluation import evaluate_codes
from tests.ssvh_model.conftest import clustered_features, tiny_config

OBJECTIVE = Objective(reconstruction=1.0, alpha=0.3, beta=0.7, temperature=0.5, tau_plus=0.1, negatives="all")


@pytest.mark.parametrize("kind", ["adversarial", "cooperative"])
@pytest.mark.parametrize("clusters", [[], [2, 3]])
def test_losses_and_gradients_of_a_step(kind: str, clusters: list[int]) -> None:
    config = tiny_config(kind)
    model = build_model(config.hasher, config.decoder, config.sampler, seed=0)
    features = clustered_features(12).float()
    index = torch.arange(12)
    anchors = make_anchors(
        model.hasher(features), clusters, iterations=5, restarts=1, points_per_centroid=50,
        mean_concentration=0.2, centres="voting", seed=0,
    )  # fmt: skip
    views = model(features, reversal=0.7, generator=torch.Generator().manual_seed(5), code_noise=0.5)
    found = OBJECTIVE(views, index, anchors).named()
    expected = training.losses(
        model, features, index, objective=OBJECTIVE, granularities=anchors, reversal=0.7, code_noise=0.5,
        generator=torch.Generator().manual_seed(5),
    )  # fmt: skip
    assert found.keys() == expected.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-5)
    weights = dict(model.named_parameters())
    gradients = [
        torch.autograd.grad(losses["loss"], list(weights.values()), allow_unused=True)
        for losses in (found, expected)
    ]
    for name, one, other in zip(weights, *gradients, strict=True):
        assert (one is None) == (other is None), name
        if one is not None and other is not None:
            torch.testing.assert_close(one, other, rtol=2e-3, atol=2e-5, msg=name)


def test_its_training_learns() -> None:
    config = tiny_config()
    trainer = training.ReferenceTrainer(
        build_model(config.hasher, config.decoder, config.sampler, seed=0), clustered_features(),
        objective=OBJECTIVE, batch_size=16, learning_rate=1e-3, reversal=1.0, code_noise=0.0, seed=0,
    )  # fmt: skip
    values = [trainer.train_epoch() for _ in range(12)]
    assert values[-1] < 0.9 * values[0]


def scatter(points: torch.Tensor, clusters: Granularity) -> tuple[torch.Tensor, torch.Tensor]:
    """Means of the clusters, and squared distances of the points to them."""
    numbers = range(len(clusters.anchors))
    means = torch.stack([points[clusters.assignments == number].mean(dim=0) for number in numbers])
    return means, (points - means[clusters.assignments]).square().sum(dim=1)


@pytest.mark.parametrize("points_per_centroid", [200, 40])
def test_clusters_are_as_tight_and_their_anchors_the_same(points_per_centroid: int) -> None:
    """Of all codes, and of a sample of them."""
    generator = torch.Generator().manual_seed(0)
    kinds = torch.randn(12, 32, generator=generator)[torch.arange(900) % 12]
    codes = torch.tanh(kinds + 0.7 * torch.randn(900, 32, generator=generator))
    settings = {
        "iterations": 20, "restarts": 5, "points_per_centroid": points_per_centroid, "mean_concentration": 0.2, "seed": 0,
    }  # fmt: skip
    expected = reference_clusters(codes, 16, **settings)
    (found,) = make_anchors(codes, [16], **settings, centres="voting")
    points = torch.nn.functional.normalize(codes, dim=1)
    means, squared = scatter(points, expected)
    assert scatter(points, found)[1].sum() == pytest.approx(float(squared.sum()), rel=0.1)
    signs = torch.where(codes >= 0, 1.0, -1.0)
    assert torch.equal(vote(signs, expected.assignments, means), expected.anchors)
    again = concentration(squared, expected.assignments, 16, mean=0.2)
    torch.testing.assert_close(again, expected.concentration, rtol=0.02, atol=0)


def test_gmap_of_a_ranking_without_ties() -> None:
    """Code i of the database is at distance i from every query."""
    database = np.ones((121, 120), dtype=np.int8)
    for row in range(len(database)):
        database[row, :row] = -1
    query = np.ones((5, 120), dtype=np.int8)
    draws = np.random.default_rng(0)
    labels, query_labels = draws.choice(list("abc"), 121), draws.choice(list("abc"), 5)
    found = evaluate_codes(
        query,
        database,
        [(str(label),) for label in query_labels],
        [(str(label),) for label in labels],
        [f"query {row}" for row in range(5)],
        [str(row) for row in range(121)],
        exclude_self=False,
    )
    assert found.gmap == pytest.approx(
        evaluation.reference_gmap(query, database, query_labels, labels), rel=1e-9
    )
