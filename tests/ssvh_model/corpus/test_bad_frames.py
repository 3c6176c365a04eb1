"""Planted bad frames: as many as asked for, where the plan says, looking as their kind says."""

from __future__ import annotations

from collections import Counter
from itertools import groupby, pairwise

import numpy as np
import pytest

from ssvh_model.corpus.bad_frames import KINDS, LONGEST_RUN, plan_bad_frames, plant


def clip(frames: int = 12) -> np.ndarray:
    blocks = np.random.default_rng(1).integers(0, 256, size=(frames, 16, 12, 3), dtype=np.uint8)
    return blocks.repeat(8, axis=1).repeat(8, axis=2)


@pytest.mark.parametrize(
    ("frames", "share", "expected"), [(32, 0, 0), (32, 0.2, 6), (25, 0.5, 12), (100, 0.29, 29), (2, 0.5, 1)]
)
def test_share_is_met(frames: int, share: float, expected: int) -> None:
    for seed in range(20):
        planned = plan_bad_frames(np.random.default_rng(seed), frames, share)
        assert len(planned) == expected
        assert list(planned) == sorted(planned)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_runs_are_short_and_a_good_frame_stands_before_each(share: float) -> None:
    for seed in range(200):
        planned = plan_bad_frames(np.random.default_rng(seed), 31, share)
        timeline = [planned.get(index, "good") for index in range(31)]
        runs = [(kind, len(list(members))) for kind, members in groupby(timeline)]
        assert runs[0][0] == "good"
        for (before, _), (kind, length) in pairwise(runs):
            assert (before == "good") != (kind == "good"), "two bad runs touch"
            assert kind == "good" or length <= LONGEST_RUN


def test_a_corpus_has_all_kinds_everywhere() -> None:
    kinds: Counter[str] = Counter()
    places: Counter[int] = Counter()
    for seed in range(500):
        planned = plan_bad_frames(np.random.default_rng([3, seed]), 32, 0.2)
        kinds.update(planned.values())
        places.update(list(planned))
    assert set(kinds) == set(KINDS)
    assert max(kinds.values()) < 1.25 * min(kinds.values())
    assert set(places) == set(range(1, 32))


@pytest.mark.parametrize("share", [-0.01, 0.51])
def test_share_outside_its_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="allowed are 0 to 0\\.5"):
        plan_bad_frames(np.random.default_rng(0), 30, share)


def test_each_kind_looks_as_it_should() -> None:
    frames = clip()
    before = frames.copy()
    foreign = np.full((2, *frames.shape[1:]), 77, dtype=np.uint8)
    planned = {
        1: "static",
        2: "static",
        4: "black",
        6: "blurred",
        8: "duplicated",
        9: "duplicated",
        10: "foreign",
    }
    result = plant(frames, planned, foreign=foreign, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(frames, before)
    good = [index for index in range(12) if index not in planned]
    np.testing.assert_array_equal(result[good], frames[good])
    assert (result[1] != result[2]).mean() > 0.9
    assert result[1].std() == pytest.approx(np.arange(256).std(), rel=0.1)
    assert (result[4] == 0).all()
    assert result[6].mean() == pytest.approx(frames[6].mean(), rel=0.1)
    detail = np.abs(np.diff(frames[6].astype(int), axis=0)).mean()
    assert np.abs(np.diff(result[6].astype(int), axis=0)).mean() < 0.3 * detail
    np.testing.assert_array_equal(result[8], frames[7])
    np.testing.assert_array_equal(result[9], frames[7])
    assert (result[10] == 77).all()


@pytest.mark.parametrize("planned", [{0: "duplicated"}, {12: "black"}, {3: "foreign"}, {3: "upside down"}])
def test_impossible_plans_are_refused(planned: dict[int, str]) -> None:
    with pytest.raises(ValueError, match="frame"):
        plant(clip(), planned, foreign=None, rng=np.random.default_rng(0))
