"""L_P2Set, the point-to-set contrastive loss between videos and cluster anchors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ssvh_model.clustering.anchors import Granularity


def p2set_loss(soft_codes: Tensor, index: Tensor, granularities: Sequence[Granularity]) -> Tensor:
    """Cross-entropy of each video against all anchors with its own cluster's as target, a scalar (method, section 4).

    The logits are (code / |code|) . (anchor / |anchor|) / phi, with phi the anchor's concentration; the mean over granularities.

    Args:
        soft_codes: [B, K].
        index: [B] int64, the videos' rows in the training set, to look their clusters up.
        granularities: at least one clustering of the training set.

    Raises:
        ValueError: no granularity.
    """
    if not granularities:
        raise ValueError("the P2Set loss needs at least one granularity")
    codes = F.normalize(soft_codes, dim=1)
    losses = [
        F.cross_entropy(
            codes @ F.normalize(clusters.anchors, dim=1).T / clusters.concentration,
            clusters.assignments[index],
        )
        for clusters in granularities
    ]
    return torch.stack(losses).mean()
