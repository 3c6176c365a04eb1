"""Where one picture lies in another, against sums over every pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ssvh_model.copies import placement
from ssvh_model.copies.placement import COARSE, Placement, placements
from tests.ssvh_model.copies.conftest import Recorder, upload, watched


def test_the_likeness_at_a_place_is_the_correlation_over_what_both_pictures_show(record: Recorder) -> None:
    first, second = watched(record(0)), watched(upload(record(0), zoom=1.3, left=0.2, top=0.7))
    sizes = [(1.2, 1.1), (0.8, 0.9)]
    coarse = placement._resized(first.frames.still, COARSE)
    fast = placement._likeness(placement._spectra(coarse, sizes), second.ground, sizes, COARSE)
    ground = placement._resized(second.frames.still, COARSE)
    for which, (height, width) in enumerate(sizes):
        picture = placement._resized(first.frames.still.clone(), COARSE)
        picture = placement._resized(
            picture, placement._pixels(COARSE, height), placement._pixels(COARSE, width)
        )
        for down, across in ((0, 0), (3, 1), (-4, 2), (5, -6), (-20, 0)):
            assert float(fast[which, down, across]) == pytest.approx(
                naive_likeness(picture, ground, down, across), abs=1e-3
            )


def naive_likeness(picture: torch.Tensor, ground: torch.Tensor, down: int, across: int) -> float:
    """Pixel by pixel."""
    both = first = second = 0.0
    area = 0
    _, rows, columns = picture.shape
    side = ground.shape[1]
    for row in range(rows):
        for column in range(columns):
            y, x = row + down, column + across
            if not (0 <= y < side and 0 <= x < side):
                continue
            area += 1
            for part in range(2):
                both += float(picture[part, row, column] * ground[part, y, x])
                first += float(picture[part, row, column] ** 2)
                second += float(ground[part, y, x] ** 2)
    if area < placement.LEAST_SHARED * min(rows * columns, side * side):
        return -1.0
    least = placement.LEAST_ENERGY * 2 * area
    return both / (max(first, least) * max(second, least)) ** 0.5


@pytest.mark.parametrize(("zoom", "left", "top"), [(1.0, 0.5, 0.5), (1.25, 0.1, 0.8), (1.45, 1.0, 0.0)])
def test_another_crop_is_found(record: Recorder, zoom: float, left: float, top: float) -> None:
    first, second = watched(record(1)), watched(upload(record(1), zoom=zoom, left=left, top=top))
    found = placements(first, second)[0]
    wanted = (zoom, zoom, -top * (zoom - 1), -left * (zoom - 1))
    assert found.likeness > 0.8
    assert (found.height, found.width, found.top, found.left) == pytest.approx(wanted, abs=0.06)
    # And the other way round.
    back = placements(second, first)[0]
    assert (back.height, back.top, back.left) == pytest.approx(
        (1 / zoom, top * (1 - 1 / zoom), left * (1 - 1 / zoom)), abs=0.06
    )


def test_what_both_pictures_show_is_a_share_of_the_smaller_one() -> None:
    assert Placement(0.0, 2.0, 2.0, -0.5, -0.5).shared == 1.0  # the second one lies within the first
    assert Placement(0.0, 0.5, 0.5, 0.5, 0.25).shared == 1.0  # the other way round
    assert Placement(0.0, 1.0, 1.0, 0.5, -0.25).shared == pytest.approx(0.375)
    assert Placement(0.0, 1.0, 1.0, 1.5, 0.0).shared == 0.0


def test_bars_are_cut_off(record: Recorder) -> None:
    plain, barred = watched(record(2)), watched(upload(record(2), bars_beside=0.3))
    found = placements(plain, barred)[0]
    assert (found.height, found.width, found.top, found.left) == pytest.approx((1, 1, 0, 0), abs=0.06)


def test_black_frames_are_no_error(record: Recorder) -> None:
    black = watched(np.zeros((20, 96, 128, 3), dtype=np.uint8))
    assert all(abs(place.likeness) < 0.5 for place in placements(black, watched(record(0))))
