"""The similarity loss, which keeps the neighbourhoods that the features have."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def similarity_loss(first: Tensor, second: Tensor, reference: Tensor) -> Tensor:
    """Mean squared difference between the cosines of the views' soft codes and those of reference codes, a
    scalar.

    All pairs of the 2B views count; two views of one video shall agree, as the video does with itself. The
    contrast between views pushes all other videos away, those of the same kind too; this keeps near what was
    near in the reference. Not in the paper (similarity-preserving knowledge distillation: Tung and Mori, ICCV
    2019).

    Args:
        first, second: [B, K], any scale, B >= 2.
        reference: [B, K'], any scale, of the same videos: their codes at the start of the training.

    Raises:
        ValueError: fewer than two videos.
    """
    if len(first) < 2:
        raise ValueError(f"the similarity loss needs at least 2 videos in a batch, not {len(first)}")
    codes = F.normalize(torch.cat([first, second]), dim=1)
    wanted = F.normalize(reference, dim=1)
    difference = codes @ codes.T - (wanted @ wanted.T).repeat(2, 2)
    # A code's cosine with itself is 1 on both sides, but for rounding.
    pairs = len(codes) * (len(codes) - 1)
    return difference.square().fill_diagonal_(0).sum() / pairs
