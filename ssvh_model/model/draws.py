"""Random numbers for the rows of a batch, whether one process has all of its rows or some."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PartOfDraws:
    """Draws for some rows of a batch: those that they would get if the whole batch were drawn from the same
    generator.

    Attributes:
        generator: in the same state in every process that has a part of the batch.
        rows: [b] int64, the rows that are wanted, on the generator's device.
        whole: rows of the whole batch.
    """

    generator: torch.Generator
    rows: Tensor
    whole: int


Draws = torch.Generator | PartOfDraws


def uniform(rows: int, *size: int, draws: Draws) -> Tensor:
    """Uniform numbers in [0, 1), [rows, *size]."""
    if isinstance(draws, PartOfDraws):
        return uniform(draws.whole, *size, draws=draws.generator)[draws.rows]
    return torch.rand(rows, *size, generator=draws, device=draws.device)


def normal(rows: int, *size: int, draws: Draws) -> Tensor:
    """Numbers of the standard normal distribution, [rows, *size]."""
    if isinstance(draws, PartOfDraws):
        return normal(draws.whole, *size, draws=draws.generator)[draws.rows]
    return torch.randn(rows, *size, generator=draws, device=draws.device)
