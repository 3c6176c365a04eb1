"""The similarity loss, beside a loop over pairs."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ssvh_model.losses.similarity import similarity_loss


def naive(first: Tensor, second: Tensor, reference: Tensor) -> float:
    views = [(code, row) for codes in (first, second) for row, code in enumerate(codes)]
    total, pairs = 0.0, 0
    for i, (a, video) in enumerate(views):
        for j, (b, other) in enumerate(views):
            if i == j:
                continue
            cosine = float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))
            x, y = reference[video], reference[other]
            total += (cosine - float(x @ y) / math.sqrt(float(x @ x) * float(y @ y))) ** 2
            pairs += 1
    return total / pairs


@pytest.mark.parametrize("longer", [8, 12])
def test_it_is_the_mean_over_pairs_of_views(longer: int) -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(5, 8, generator=generator, dtype=torch.float64) for _ in range(2))
    reference = torch.randn(5, longer, generator=generator, dtype=torch.float64)
    assert similarity_loss(first, second, reference).item() == pytest.approx(naive(first, second, reference))


def test_it_is_0_where_nothing_has_changed_and_its_gradient_leads_back() -> None:
    generator = torch.Generator().manual_seed(1)
    reference = torch.randn(6, 8, generator=generator)
    assert similarity_loss(3 * reference, reference, reference).item() == pytest.approx(0, abs=1e-10)
    codes = torch.randn(6, 8, generator=generator).requires_grad_()
    before = similarity_loss(codes, codes, reference)
    before.backward()
    assert codes.grad is not None
    assert similarity_loss(*2 * (codes.detach() - 0.1 * codes.grad,), reference) < before


def test_one_video_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 videos in a batch, not 1"):
        similarity_loss(*3 * (torch.ones(1, 8),))
