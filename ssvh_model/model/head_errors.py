"""The decoder's head and the error of what it makes, in one operation."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from ssvh_model.model.precision import multiplicand


class _HeadErrors(Function):
    @staticmethod
    def forward(
        ctx: Any, tokens: Tensor, weight: Tensor, bias: Tensor, features: Tensor, hidden: Tensor
    ) -> Tensor:
        reconstruction = F.linear(multiplicand(tokens), multiplicand(weight), multiplicand(bias))
        # In place, because this is the largest tensor of a training step.
        difference = reconstruction.view(-1, *features.shape).sub_(multiplicand(features)).flatten(0, 1)
        ctx.save_for_backward(tokens, weight, difference, hidden)
        return torch.linalg.vector_norm(difference, dim=-1, dtype=tokens.dtype).square() / features.shape[-1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        tokens, weight, difference, hidden = ctx.saved_tensors
        batch, frames, width = tokens.shape
        rows = (hidden + torch.arange(batch, device=hidden.device)[:, None] * frames).flatten()
        of_error = gradients[0].flatten()[rows] * (2 / weight.shape[0])
        outer = difference.flatten(0, 1)[rows] * of_error[:, None].to(difference.dtype)
        inner = tokens.flatten(0, 1)[rows].to(difference.dtype)
        of_tokens = tokens.new_zeros(batch * frames, width)
        of_tokens[rows] = (outer @ weight.to(difference.dtype)).to(tokens.dtype)
        of_weight = (outer.T @ inner).to(weight.dtype)
        return of_tokens.view_as(tokens), of_weight, outer.sum(dim=0, dtype=weight.dtype), None, None


def head_errors(tokens: Tensor, weight: Tensor, bias: Tensor, features: Tensor, hidden: Tensor) -> Tensor:
    """Mean squared error of linearly reconstructed features, [B, M]; only the errors of hidden frames have a
    gradient.

    The reconstruction loss multiplies the errors of visible frames by 0 but needs their values: they tell
    Grade-Net what it would cost to hide a frame. So their way back, half of the most expensive matrix
    products of a step, is left out.

    Args:
        tokens: [B, M, width].
        weight, bias: of the head, [D, width] and [D].
        features: [B / n, M, D], true features; the tokens are n views of each video, one after the other.
            They get no gradient.
        hidden: [B, h] int64, positions of the hidden frames.
    """
    errors: Tensor = _HeadErrors.apply(tokens, weight, bias, features, hidden)
    return errors
