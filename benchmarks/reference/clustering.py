"""Clustering as it is written down: Lloyd's algorithm from points by chance, the best of several runs, and a
loop over the clusters.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ssvh_model.clustering.anchors import Granularity


def reference_clusters(
    soft_codes: Tensor,
    count: int,
    *,
    iterations: int,
    restarts: int,
    points_per_centroid: int,
    mean_concentration: float,
    seed: int,
) -> Granularity:
    """One clustering of soft codes [N, K] with voted anchors; the arguments are those of `make_anchors`."""
    generator = torch.Generator().manual_seed(seed)
    points = F.normalize(soft_codes, dim=1)
    sample = points[torch.randperm(len(points), generator=generator)[: count * points_per_centroid]]
    best, least = sample[:count], math.inf
    for _ in range(restarts):
        centroids = sample[torch.randperm(len(sample), generator=generator)[:count]]
        for _ in range(iterations):
            nearest = torch.cdist(sample, centroids).argmin(dim=1)
            sizes = torch.bincount(nearest, minlength=count)[:, None]
            sums = torch.zeros_like(centroids).index_add_(0, nearest, sample)
            centroids = torch.where(sizes > 0, sums / sizes.clamp(min=1), centroids)
        objective = float(torch.cdist(sample, centroids).min(dim=1).values.square().sum())
        if objective < least:
            best, least = centroids, objective
    distances, assignments = torch.cdist(points, best).min(dim=1)
    return Granularity(
        voted(soft_codes, assignments, best),
        assignments,
        temperatures(distances, assignments, count, mean_concentration),
    )


def voted(soft_codes: Tensor, assignments: Tensor, centroids: Tensor) -> Tensor:
    """Anchors [C, K]: the majority of the members' codes, bit by bit; the centroid's sign where there is
    none.
    """
    anchors = []
    for number, centroid in enumerate(centroids):
        votes = torch.where(soft_codes[assignments == number] >= 0, 1.0, -1.0).sum(dim=0)
        votes = torch.where(votes == 0, centroid, votes)
        anchors.append(torch.where(votes >= 0, 1.0, -1.0))
    return torch.stack(anchors)


def temperatures(distances: Tensor, assignments: Tensor, count: int, mean: float) -> Tensor:
    """phi [C] of the clusters, from the members' distances to their centres, with this mean."""
    dense = torch.zeros(count, dtype=torch.float64)
    for number in range(count):
        members = distances[assignments == number].double()
        if len(members) > 1:
            dense[number] = members.mean() / math.log(len(members) + 10)
    largest = dense.max()
    for number in range(count):
        if (assignments == number).sum() <= 1:
            dense[number] = largest
    dense = dense.clamp(dense.quantile(0.1), dense.quantile(0.9))
    return (mean * dense / dense.mean()).float()
