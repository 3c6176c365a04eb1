"""The frames that the sampler scored highest."""

from __future__ import annotations

import numpy as np
import pytest

from ssvh_model.moments.rerank import TimedFeatures
from ssvh_model.pictures.scored_frames import highest_scored, highest_scored_seconds


def test_of_frames_beside_each_other_the_highest_is_shown() -> None:
    scores = np.zeros(25)
    scores[[4, 5, 6, 20, 12]] = [0.8, 0.9, 0.7, 0.6, 0.5]
    assert highest_scored(scores, 3).tolist() == [5, 12, 20]
    assert highest_scored(scores, 1).tolist() == [5]


@pytest.mark.parametrize("frames", [1, 2, 3, 5])
def test_of_few_frames_there_are_as_many_as_there_are(frames: int) -> None:
    assert highest_scored(np.arange(frames), 3).tolist() == list(range(frames))[-3:]


def test_their_seconds_are_in_the_middle_of_what_they_stand_for() -> None:
    features = np.arange(8, dtype=np.float16)[:, None]

    def by_value(given: np.ndarray) -> np.ndarray:
        assert given.shape == (1, 8, 1)
        return np.isin(given[:, :, 0], [1.0, 6.0]).astype(np.float32)

    timed = TimedFeatures(features, 0.5, start=10.0)
    assert highest_scored_seconds(timed, 8, 2, by_value) == [10.75, 13.25]


def test_of_a_film_as_many_frames_are_scored_as_the_hasher_looks_at() -> None:
    features = np.arange(20, dtype=np.float16)[:, None]

    def the_last(given: np.ndarray) -> np.ndarray:
        assert given.shape == (1, 5, 1) and given[0, 0, 0] == 0 and given[0, -1, 0] == 19
        return given[:, :, 0]

    assert highest_scored_seconds(TimedFeatures(features, 1.0), 5, 1, the_last) == [19.5]
