"""L_VC, the debiased contrastive loss between two views."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def view_contrastive_loss(first: Tensor, second: Tensor, *, temperature: float, tau_plus: float) -> Tensor:
    """Debiased contrastive loss between the soft codes of two views of the same videos, a scalar.

    -log(pos / (pos + N * g)), where g estimates the mean over true negatives from the N = 2B - 2 other codes,
    of which a share `tau_plus` is assumed to be positive, and is at least exp(-1 / temperature) (Chuang et
    al., NeurIPS 2020, equation 8).

    Args:
        first, second: [B, K], any scale; they are L2-normalised here. B >= 2.
        temperature: of the similarities, > 0.
        tau_plus: assumed share of positives among the negatives, in [0, 1).

    Raises:
        ValueError: fewer than two videos, or a parameter out of its range.
    """
    batch = len(first)
    if batch < 2:
        raise ValueError(f"the contrastive loss needs at least 2 videos in a batch, not {batch}")
    if temperature <= 0 or not 0 <= tau_plus < 1:
        raise ValueError(f"temperature {temperature}, tau_plus {tau_plus}; allowed are > 0 and [0, 1)")
    codes = F.normalize(torch.cat([first, second]), dim=1)
    similarity = codes @ codes.T / temperature
    positive = torch.cat([similarity.diagonal(batch), similarity.diagonal(-batch)]).exp()
    own = torch.eye(batch, dtype=torch.bool, device=codes.device).repeat(2, 2)
    negatives = similarity.exp().masked_fill(own, 0).sum(dim=1)
    count = 2 * batch - 2
    debiased = (negatives - tau_plus * count * positive) / (1 - tau_plus)
    debiased = debiased.clamp(min=count * math.exp(-1 / temperature))
    return -(positive / (positive + debiased)).log().mean()
