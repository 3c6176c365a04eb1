from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ssvh_model.losses.view_contrastive import view_contrastive_loss


@pytest.mark.parametrize("case", ["vc0", "vc1", "vc2"])
def test_equals_the_released_loss(golden: dict[str, np.ndarray], case: str) -> None:
    loss = view_contrastive_loss(
        torch.tensor(golden[f"{case}_view1"]),
        torch.tensor(golden[f"{case}_view2"]),
        temperature=float(golden[f"{case}_temperature"]),
        tau_plus=float(golden[f"{case}_tau_plus"]),
    )
    assert abs(loss.item() - float(golden[f"{case}_loss"])) < 1e-5


def naive(first: np.ndarray, second: np.ndarray, temperature: float, tau_plus: float) -> float:
    """Equation 8 of Chuang et al. (2020), one pair at a time."""
    codes = [row / np.linalg.norm(row) for row in np.concatenate([first, second])]
    batch, total = len(first), 0.0
    for anchor in range(2 * batch):
        partner = (anchor + batch) % (2 * batch)
        positive = math.exp(codes[anchor] @ codes[partner] / temperature)
        others = [row for row in range(2 * batch) if row not in (anchor, partner)]
        negatives = sum(math.exp(codes[anchor] @ codes[row] / temperature) for row in others)
        count = len(others)
        estimate = max(
            (negatives - tau_plus * count * positive) / (1 - tau_plus), count * math.exp(-1 / temperature)
        )
        total -= math.log(positive / (positive + estimate))
    return total / (2 * batch)


@pytest.mark.parametrize("batch", [2, 3, 7])
def test_equals_the_naive_form(batch: int) -> None:
    rng = np.random.default_rng(batch)
    first, second = rng.normal(size=(2, batch, 10))
    fast = view_contrastive_loss(torch.tensor(first), torch.tensor(second), temperature=0.3, tau_plus=0.2)
    assert fast.item() == pytest.approx(naive(first, second, 0.3, 0.2), rel=1e-9)


def test_one_video_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 videos"):
        view_contrastive_loss(torch.ones(1, 4), torch.ones(1, 4), temperature=0.5, tau_plus=0.1)
