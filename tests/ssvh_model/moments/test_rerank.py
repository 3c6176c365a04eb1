"""Likeness of frames along a line through time, and the order that it gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ssvh_model.moments.matching import Moment
from ssvh_model.moments.query import Query, QueryPart
from ssvh_model.moments.rerank import TimedFeatures, align, rerank_moments

STEP = 0.2


def as_they_are(features: torch.Tensor) -> torch.Tensor:
    return features


def drawn(frames: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(frames, 12)).astype(np.float16)


def timed(features: np.ndarray, start: float = 0.0) -> TimedFeatures:
    return TimedFeatures(features, STEP, start)


def naive(first: np.ndarray, second: np.ndarray) -> tuple[float, int]:
    """The best mean cosine of all shifts by whole frames at which all of `first` lies in `second`."""
    first, second = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (first, second))
    means = [
        float((first * second[shift : shift + len(first)]).sum(axis=1).mean())
        for shift in range(len(second) - len(first) + 1)
    ]
    return max(means), int(np.argmax(means))


@pytest.mark.parametrize("shift", [0, 7, 30])
def test_the_line_is_that_of_a_naive_search(shift: int) -> None:
    film = drawn(50, seed=1)
    query = film[shift : shift + 20] + 0.3 * drawn(20, seed=2)
    likeness, start = align(timed(query), timed(film, 100.0), as_they_are)
    expected, where = naive(query.astype(np.float32), film.astype(np.float32))
    assert where == shift
    assert likeness == pytest.approx(expected, abs=1e-3)
    assert start == pytest.approx(100 + shift * STEP, abs=STEP / 2 + 1e-6)


def test_steps_may_differ() -> None:
    film = drawn(200, seed=1)
    query = film[60:100:4]  # every fourth frame; its own begins half of its step before
    found = align(TimedFeatures(query, 4 * STEP), timed(film), as_they_are)
    assert found[0] == pytest.approx(1, abs=1e-3)
    assert found[1] == pytest.approx((60 + 0.5) * STEP - 2 * STEP, abs=STEP)


def test_places_are_ordered_by_likeness_and_those_without_features_stay_behind() -> None:
    films = {0: drawn(100, 0), 1: drawn(100, 1), 2: drawn(100, 2)}
    query_frames = films[1][40:60]
    part = QueryPart(1.0, STEP, query_frames, np.zeros(1, np.int64), 1, np.zeros((1, 2), np.uint8))
    query = Query(4.0, np.zeros(2, np.uint8), query_frames, [part])
    asked = []

    def features_of(row: int, start: float, end: float) -> TimedFeatures | None:
        asked.append((row, start, end))
        first = max(0, round(start / STEP))
        return None if row == 2 else timed(films[row][first : round(end / STEP)], first * STEP)

    shortlist = [Moment(2, 1.0, 0.0, 4.0), Moment(0, 2.0, 8.0, 12.0), Moment(1, 3.0, 9.0, 13.0)]
    found = rerank_moments(query, shortlist, features_of, as_they_are)
    assert [moment.row for moment in found] == [1, 0, 2]
    assert found[0].start == pytest.approx(8.0) and found[0].end == pytest.approx(12.0)
    assert found[0].likeness == pytest.approx(1, abs=1e-3)
    assert found[1].likeness is not None and found[1].likeness < 0.5
    assert found[2] == shortlist[0], "as it was"
    assert asked[2] == (1, 5.0, 17.0), "a query's length to either side"


def test_a_whole_video_keeps_its_span_and_may_be_faster() -> None:
    video = drawn(16, 0)
    query = Query(6.4, np.zeros(2, np.uint8), video.repeat(2, axis=0))
    faster = TimedFeatures(video, STEP, whole=True)
    found = rerank_moments(query, [Moment(0, 5.0, 0.0, 3.2)], lambda *_: faster, as_they_are)[0]
    assert (found.start, found.end) == (0.0, 3.2)
    assert found.likeness is not None and found.likeness > 0.8
