"""The straight line through two videos' times, against a search frame by frame."""

from __future__ import annotations

import math

import pytest
import torch

from ssvh_model.copies.time_line import LEAST_SHARED, SPEEDS, best_time_line


@pytest.mark.parametrize(("count", "others", "steps"), [(16, 16, (0.1, 0.1)), (20, 33, (0.2, 0.1))])
def test_it_is_the_best_of_all_lines(count: int, others: int, steps: tuple[float, float]) -> None:
    likeness = torch.rand(count, others, generator=torch.Generator().manual_seed(count))
    line = best_time_line(likeness, first_step=steps[0], second_step=steps[1])
    best = max(
        naive_worth(likeness, speed * steps[0] / steps[1], offset / 2)
        for speed in SPEEDS
        for offset in range(-8 * count, 2 * others + 1)
    )
    assert line.likeness * math.sqrt(line.shared) == pytest.approx(best, abs=1e-5)
    assert float(likeness[line.first, line.second].mean()) == pytest.approx(line.likeness, abs=1e-5)


def naive_worth(likeness: torch.Tensor, speed: float, offset: float) -> float:
    """Frame by frame."""
    count, others = likeness.shape
    along = []
    for row in range(count):
        column = round(float(torch.tensor(row, dtype=torch.float32) * torch.tensor(speed) + offset))
        if 0 <= column < others:
            along.append(float(likeness[row, column]))
    share = min(1.0, len(along) / min(count, others / speed))
    if share < LEAST_SHARED:
        return -1.0
    return sum(along) / len(along) * math.sqrt(share)


def test_a_shift_and_a_speed_are_found() -> None:
    likeness = torch.zeros(40, 60)
    for row in range(40):
        if (column := round(row * 2 ** (4 / 16) + 7)) < 60:
            likeness[row, column] = 1.0
    line = best_time_line(likeness, first_step=0.1, second_step=0.1)
    assert line.likeness == pytest.approx(1.0)
    assert line.speed == pytest.approx(2 ** (4 / 16))
    assert line.offset == pytest.approx(0.7)
    assert line.shared == pytest.approx(1.0)
