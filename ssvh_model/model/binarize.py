"""Hard sign with a straight-through gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def sign(values: Tensor) -> Tensor:
    """+1 where a value is at least 0, else -1, in the dtype of `values`. Zero counts as +1, here and
    everywhere.
    """
    return torch.where(values >= 0, 1.0, -1.0).to(values.dtype)


class _StraightThroughSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.save_for_backward(values)
        return sign(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (values,) = ctx.saved_tensors
        return gradients[0] * ((values > -1) & (values <= 1))


def binarize(values: Tensor) -> Tensor:
    """Codes in {-1, +1} of the shape of `values`; the gradient passes unchanged inside (-1, 1] and is 0
    outside.

    Source: the released code's hash layer (a straight-through estimator, Bengio et al. 2013); the border
    belongs to the inside at +1 only, as there.
    """
    codes: Tensor = _StraightThroughSign.apply(values)
    return codes
