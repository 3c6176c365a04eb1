"""Fixed sinusoidal positions."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sinusoidal_positions(length: int, width: int, scale: float) -> Tensor:
    """Position vectors [length, width] float32 (Vaswani et al., 2017), times `scale`: sines in the even
    places, cosines in the odd ones.
    """
    table = torch.zeros(length, width)
    if table.is_meta:
        # Where only sizes count. The first arithmetic there has torch import its compiler, which takes a
        # second.
        return table
    position = torch.arange(length, dtype=torch.float32)[:, None]
    frequency = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(10_000.0) / width))
    table[:, 0::2] = torch.sin(position * frequency)
    table[:, 1::2] = torch.cos(position * frequency[: width // 2])
    return scale * table
