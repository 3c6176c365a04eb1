"""Distortions: nothing at strength 0, further with strength, and each parameter does what it says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ssvh_model.corpus.distortions import (
    CLEAN_QUALITY,
    WORST_QUALITY,
    Distortion,
    add_grain,
    colour_matrix,
    distort,
    draw_distortion,
    picture_size,
)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def pictures(count: int = 2, height: int = 210, width: int = 160) -> np.ndarray:
    """Blocks of random colours, so that scaling does not blur everything away."""
    blocks = rng().integers(0, 256, size=(count, height // 10, width // 10, 3), dtype=np.uint8)
    return blocks.repeat(10, axis=1).repeat(10, axis=2)


def test_strength_0_changes_nothing() -> None:
    frames = pictures()
    distortion = draw_distortion(rng(), 0.0)
    assert distortion.speed == 1
    assert distortion.quality == CLEAN_QUALITY
    np.testing.assert_array_equal(distort(frames, distortion, longer_side=210, rng=rng()), frames)


def test_parameters_go_further_with_strength_and_stay_inside_the_extremes() -> None:
    def distances(strength: float) -> np.ndarray:
        drawn = [draw_distortion(np.random.default_rng(seed), strength) for seed in range(200)]
        return np.array(
            [
                [
                    abs(math.log2(d.speed)),
                    d.zoom - 1,
                    abs(d.hue),
                    1 - d.saturation,
                    abs(math.log(d.brightness)),
                    d.bars_above + d.bars_beside,
                    d.noise,
                    d.quality - CLEAN_QUALITY,
                ]
                for d in drawn
            ]
        )

    weak, strong = distances(0.3), distances(1.0)
    assert (weak <= strong).all()
    assert (strong.mean(0) > 2.5 * weak.mean(0)).all()
    most = np.array([1, 1.2, math.pi, 0.7, math.log(1.5), 0.4, 40, WORST_QUALITY - CLEAN_QUALITY])
    assert (strong.max(0) <= most + 1e-9).all()
    assert (strong.max(0) > 0.9 * most).all()


def test_each_seed_draws_another_distortion() -> None:
    assert len({draw_distortion(np.random.default_rng([7, clip]), 0.5) for clip in range(50)}) == 50


@pytest.mark.parametrize("strength", [-0.1, 1.1, math.nan])
def test_strength_outside_its_range_is_refused(strength: float) -> None:
    with pytest.raises(ValueError, match="allowed are 0 to 1"):
        draw_distortion(rng(), strength)


@pytest.mark.parametrize(
    ("width", "height", "longer_side", "expected"),
    [
        (160, 210, 210, (160, 210)),
        (160, 210, 160, (122, 160)),
        (160, 250, 128, (82, 128)),
        (160, 40, 64, (64, 16)),
    ],
)
def test_picture_size(width: int, height: int, longer_side: int, expected: tuple[int, int]) -> None:
    assert picture_size(width, height, longer_side) == expected


def test_colours_are_the_matrix_product_pixel_by_pixel() -> None:
    frames = pictures(count=1)
    distortion = Distortion(hue=2.0, saturation=0.5, brightness=0.8)
    matrix = colour_matrix(distortion)
    expected = np.empty(frames.shape)
    for index in np.ndindex(frames.shape[:3]):
        expected[index] = matrix @ frames[index]
    result = distort(frames, distortion, longer_side=210, rng=rng())
    assert np.abs(result - np.clip(expected, 0, 255)).max() <= 1


def test_a_third_of_a_turn_swaps_the_primaries_and_grey_stays_grey() -> None:
    matrix = colour_matrix(Distortion(hue=2 * math.pi / 3))
    np.testing.assert_allclose(matrix @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    for hue in (0.3, 1.0, 3.0):
        np.testing.assert_allclose(colour_matrix(Distortion(hue=hue)) @ [1, 1, 1], [1, 1, 1], atol=1e-12)


@pytest.mark.parametrize(
    ("left", "top", "rows", "columns"),
    [
        (0.0, 0.0, slice(0, 100), slice(0, 80)),
        (1.0, 1.0, slice(100, 200), slice(80, 160)),
        (0.5, 0.0, slice(0, 100), slice(40, 120)),
    ],
)
def test_zoom_shows_the_part_that_it_says(left: float, top: float, rows: slice, columns: slice) -> None:
    frames = pictures(height=200)
    result = distort(frames, Distortion(zoom=2.0, left=left, top=top), longer_side=100, rng=rng())
    np.testing.assert_array_equal(result, frames[:, rows, columns])


def test_bars_cover_their_share_on_both_sides() -> None:
    white = np.full((1, 200, 160, 3), 255, dtype=np.uint8)
    beside = distort(white, Distortion(bars_beside=0.25), longer_side=200, rng=rng())[0, :, :, 0]
    assert (beside[:, 20:140] == 255).all()
    assert (beside[:, :20] == 0).all() and (beside[:, 140:] == 0).all()
    above = distort(white, Distortion(bars_above=0.5), longer_side=200, rng=rng())[0, :, :, 0]
    assert (above[50:150] == 255).all()
    assert (above[:50] == 0).all() and (above[150:] == 0).all()


def test_grain_has_its_strength_and_moves() -> None:
    grey = np.full((3, 100, 100, 3), 128, dtype=np.uint8)
    noisy = add_grain(grey, 20.0, rng()).astype(float)
    assert noisy.std() == pytest.approx(20, rel=0.05)
    assert noisy.mean() == pytest.approx(128, abs=0.5)
    assert (noisy[0] != noisy[1]).mean() > 0.8
    assert (noisy[..., 0] == noisy[..., 2]).all()
