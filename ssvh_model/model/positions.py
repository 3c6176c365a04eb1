"""Fixed sinusoidal positions."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sinusoidal_positions(length: int, width: int) -> Tensor:
    """Position vectors [length, width] float32 (Vaswani et al., 2017): sines in the even places, cosines in the odd ones."""
    position = torch.arange(length, dtype=torch.float32)[:, None]
    frequency = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(10_000.0) / width))
    table = torch.zeros(length, width)
    table[:, 0::2] = torch.sin(position * frequency)
    table[:, 1::2] = torch.cos(position * frequency[: width // 2])
    return table
