"""Gradient reversal: identity forward, negated gradient backward."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.autograd import Function


class _ReverseGradient(Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradients[0], None


def reverse_gradient(values: Tensor, strength: float) -> Tensor:
    """`values` unchanged; their gradient is multiplied by `-strength` (Ganin and Lempitsky, ICML 2015).

    A negative strength turns the reversal off: -1 passes the gradient as it is.
    """
    reversed_values: Tensor = _ReverseGradient.apply(values, strength)
    return reversed_values
