"""Concentration of clusters: the temperature phi of each anchor."""

from __future__ import annotations

import torch
from torch import Tensor

# Smooths phi for small clusters; PCL, equation 12.
SMOOTHING = 10


def concentration(squared_distances: Tensor, assignments: Tensor, clusters: int, *, mean: float) -> Tensor:
    """phi of each cluster, [C] float32: small for dense clusters, large for loose ones.

    Mean distance of the members to the centre over log(members + 10). Clusters of one member or none take the
    largest value; all are clipped to their 10th..90th percentile and scaled to the given mean (Li et al.,
    "Prototypical Contrastive Learning", ICLR 2021, and the released code).

    Args:
        squared_distances: [N], squared distance of each member to its centre.
        assignments: [N] int64.
        clusters: C.
        mean: of the result.
    """
    distances = squared_distances.double().clamp(min=0).sqrt()
    sizes = torch.bincount(assignments, minlength=clusters)
    sums = torch.zeros(clusters, dtype=torch.float64).index_add_(0, assignments, distances)
    several = sizes > 1
    phi = torch.where(several, sums / sizes.clamp(min=1) / torch.log(sizes.double() + SMOOTHING), 0.0)
    phi = torch.where(several, phi, phi.max())
    borders = torch.quantile(phi, torch.tensor([0.1, 0.9], dtype=torch.float64))
    phi = phi.clamp(borders[0], borders[1])
    if phi.mean() == 0:
        # Every member sits on its centre: all clusters are equally dense.
        return torch.full((clusters,), mean)
    return (mean * phi / phi.mean()).float()
