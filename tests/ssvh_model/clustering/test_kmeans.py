from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ssvh_model.clustering.kmeans import Clustering, kmeans

SETTINGS = {"iterations": 20, "points_per_centroid": 200, "seed": 4}


def drifting(videos: int = 1200, kinds: int = 30, bits: int = 32, *, drift: float) -> tuple[Tensor, Tensor]:
    """Points of unit length around prototypes, and where they are later: all moved, each kind in its own
    direction and each point a little.
    """
    generator = torch.Generator().manual_seed(0)
    kind = torch.randint(kinds, (videos,), generator=generator)

    def noise(rows: int) -> Tensor:
        return torch.randn(rows, bits, generator=generator)

    before = noise(kinds)[kind] + 0.6 * noise(videos)
    after = before + drift * (noise(1) + noise(kinds)[kind] + 0.3 * noise(videos))
    return torch.nn.functional.normalize(before, dim=1), torch.nn.functional.normalize(after, dim=1)


def lloyd(points: Tensor, centroids: Tensor, iterations: int) -> Tensor:
    """Lloyd's algorithm by its definition, where no cluster becomes empty."""
    for _ in range(iterations):
        nearest = torch.cdist(points, centroids).argmin(dim=1)
        centroids = torch.stack([points[nearest == number].mean(dim=0) for number in range(len(centroids))])
    return centroids


def means(points: Tensor, found: Clustering) -> Tensor:
    clusters = range(len(found.centroids))
    return torch.stack([points[found.assignments == number].mean(dim=0) for number in clusters])


def test_from_a_start_it_is_lloyds_algorithm() -> None:
    points, _ = drifting(drift=0.0)
    start = points[:20]
    found = kmeans(points, 20, iterations=3, restarts=5, points_per_centroid=200, seed=4, start=start)
    expected = lloyd(points, start, 3)
    torch.testing.assert_close(found.centroids, expected, rtol=1e-4, atol=1e-5)
    squared = torch.cdist(points, expected).square()
    for distances in (found.squared_distances, squared[torch.arange(len(points)), found.assignments]):
        torch.testing.assert_close(distances, squared.min(dim=1).values, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("clusters", [20, 40, 100])
@pytest.mark.parametrize("drift", [0.1, 0.5])
def test_one_run_from_the_last_clusters_is_about_as_good_as_five_by_chance(
    drift: float, clusters: int
) -> None:
    before, after = drifting(drift=drift)
    last = kmeans(before, clusters, restarts=5, **SETTINGS)
    warm = kmeans(after, clusters, restarts=5, start=means(after, last), **SETTINGS)
    cold = kmeans(after, clusters, restarts=5, **SETTINGS)
    assert warm.squared_distances.sum() <= 1.1 * cold.squared_distances.sum()


def test_a_start_that_no_point_is_near_gets_points() -> None:
    points, _ = drifting(drift=0.0)
    start = torch.cat([points[:6], torch.full((4, points.shape[1]), 50.0)])
    found = kmeans(points, 10, restarts=1, start=start, **SETTINGS)
    assert torch.bincount(found.assignments, minlength=10).min() > 0


def test_the_same_start_gives_the_same_clusters_also_of_a_sample_of_the_points() -> None:
    points, _ = drifting(drift=0.0)
    sampled = {**SETTINGS, "points_per_centroid": 10}
    first, second = (kmeans(points, 20, restarts=1, start=points[:20], **sampled) for _ in range(2))
    assert torch.equal(first.centroids, second.centroids)
    assert torch.equal(first.assignments, second.assignments)
    everything = kmeans(points, 20, restarts=1, start=points[:20], **SETTINGS)
    assert not torch.equal(first.centroids, everything.centroids)
