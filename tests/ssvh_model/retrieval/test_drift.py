from __future__ import annotations

import numpy as np
import pytest

from ssvh_model.retrieval.drift import measure_drift


def codes(generator: np.random.Generator, count: int, means: np.ndarray) -> np.ndarray:
    """Codes whose bits are independent and have these means."""
    return np.where(generator.random((count, len(means))) < (1 + means) / 2, 1, -1).astype(np.int8)


def test_videos_of_the_same_kind_show_about_nothing_however_few_they_are() -> None:
    generator = np.random.default_rng(1)
    means = generator.uniform(-0.8, 0.8, 32)
    trained, known = codes(generator, 400, means), codes(generator, 100, means)
    shifts = [
        measure_drift(codes(generator, 20, means), trained, known, radius=4).bit_shift for _ in range(50)
    ]
    assert abs(np.mean(shifts)) < 0.01 and np.abs(shifts).max() < 0.1


def test_bits_that_move_are_measured_by_how_far() -> None:
    generator = np.random.default_rng(2)
    means = np.zeros(32)
    trained = codes(generator, 2000, means)
    moved = codes(generator, 2000, means + 0.5)
    assert measure_drift(moved, trained, trained[:0], radius=4).bit_shift == pytest.approx(0.5, abs=0.05)


def test_unseen_codes_are_counted_as_a_naive_search_counts_them() -> None:
    generator = np.random.default_rng(3)
    trained, known, new = (codes(generator, count, np.zeros(12)) for count in (300, 40, 30))
    for radius in (0, 1, 2, 12):
        naive = [
            np.mean([min((one != other).sum() for other in trained) > radius for one in some])
            for some in (new, known)
        ]
        drift = measure_drift(new, trained, known, radius=radius)
        assert [drift.unseen, drift.unseen_before] == pytest.approx(naive)
        assert drift.unseen_more == pytest.approx(naive[0] - naive[1])
    # Without known videos, each training video is held against the others.
    alone = [
        min((one != other).sum() for place, other in enumerate(trained) if place != row) > 1
        for row, one in enumerate(trained)
    ]
    assert measure_drift(new, trained, trained[:0], radius=1).unseen_before == pytest.approx(np.mean(alone))


def test_too_few_codes_are_refused() -> None:
    some = np.ones((3, 8), dtype=np.int8)
    for new, trained in ((some[:0], some), (some, some[:1])):
        with pytest.raises(ValueError, match="allowed are 1 and 2"):
            measure_drift(new, trained, some, radius=1)
