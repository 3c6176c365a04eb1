"""Component voting: the hash centre of a cluster, bit by bit."""

from __future__ import annotations

import torch
from torch import Tensor

from ssvh_model.model.binarize import sign


def vote(codes: Tensor, assignments: Tensor, centroids: Tensor) -> Tensor:
    """Anchors [C, K] float32 in {-1, +1}: each bit is the majority of the members' bits.

    This minimises the mean Hamming distance to the members (AutoSSVH, "component voting"). A tie, and so
    every bit of an empty cluster, takes the sign of the centroid in that bit.

    Args:
        codes: [N, K] in {-1, +1}.
        assignments: [N] int64, in 0..C-1.
        centroids: [C, K], the k-means centres.
    """
    votes = torch.zeros(centroids.shape, dtype=torch.float32).index_add_(0, assignments, codes.float())
    return torch.where(votes == 0, sign(centroids.float()), torch.sign(votes))
