"""k-means by faiss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ssvh_model.faiss_import import load_faiss


@dataclass(frozen=True)
class Clustering:
    """Result of `kmeans`.

    Attributes:
        centroids: [C, K] float32.
        assignments: [N] int64, the nearest centroid of each point.
        squared_distances: [N] float32, to that centroid.
    """

    centroids: Tensor
    assignments: Tensor
    squared_distances: Tensor


def kmeans(
    points: Tensor,
    clusters: int,
    *,
    iterations: int,
    restarts: int,
    points_per_centroid: int,
    seed: int,
    start: Tensor | None = None,
) -> Clustering:
    """Euclidean k-means, the best of `restarts` runs, or one run from `start`; the same seed gives the same
    clusters.

    Args:
        points: [N, K] float32 on the CPU.
        clusters: C, at most N.
        iterations: of Lloyd's algorithm a run.
        restarts: runs from different starting points.
        points_per_centroid: at most this many points a centroid are used to find the centroids.
        start: [C, K] float32, centroids to begin with. One that no point is near gets half of a large
            cluster's points.

    Raises:
        ValueError: `clusters` out of 1..N.
    """
    if not 1 <= clusters <= len(points):
        raise ValueError(f"clusters {clusters}; allowed are 1 to {len(points)}, the number of points")
    faiss = load_faiss()
    data = np.ascontiguousarray(points.numpy(), dtype=np.float32)
    search = faiss.Kmeans(
        data.shape[1],
        clusters,
        niter=iterations,
        nredo=restarts if start is None else 1,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=points_per_centroid,
    )
    search.train(data, init_centroids=None if start is None else np.ascontiguousarray(start.numpy()))
    distances, assignments = search.index.search(data, 1)
    return Clustering(
        centroids=torch.from_numpy(search.centroids.copy()),
        assignments=torch.from_numpy(assignments[:, 0].copy()),
        squared_distances=torch.from_numpy(distances[:, 0].copy()),
    )
