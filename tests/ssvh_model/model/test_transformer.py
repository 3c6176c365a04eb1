"""Attention over a few tokens."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from ssvh_model.model.transformer import attend


@pytest.mark.parametrize(("tokens", "size"), [(1, 8), (13, 42), (25, 64)])
def test_attention_equals_torch_s_own_gradients_included(tokens: int, size: int) -> None:
    draws = torch.Generator().manual_seed(0)
    inputs = [
        torch.randn(3, 2, tokens, size, generator=draws, dtype=torch.float64).requires_grad_()
        for _ in range(3)
    ]
    found, expected = attend(*inputs), F.scaled_dot_product_attention(*inputs)
    torch.testing.assert_close(found, expected)
    weight = torch.randn(found.shape, generator=draws, dtype=torch.float64)
    for one, other in zip(
        *(torch.autograd.grad((result * weight).sum(), inputs) for result in (found, expected)), strict=True
    ):
        torch.testing.assert_close(one, other)
