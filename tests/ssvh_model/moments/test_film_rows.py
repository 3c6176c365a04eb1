"""How films are cut is seen in the spans of their segments."""

from __future__ import annotations

import numpy as np
import pytest

from ssvh_model.moments.film_rows import FilmRows
from ssvh_model.moments.segments import EvenSegments

DAY = 24 * 3600.0
LONGEST = 36 * 3600.0
FRAMES = 25


def even(seconds: float, overlap: float, whole: float) -> np.ndarray:
    """Spans of a film's segments, as an index has them."""
    segments = EvenSegments(seconds, overlap)
    step = segments.step(FRAMES)
    starts = segments.firsts(round(whole / step), FRAMES) * step
    return np.stack([starts, starts + seconds], axis=1).astype(np.float32)


def rows_of(*films: np.ndarray) -> FilmRows:
    first_rows = np.repeat(np.cumsum([0, *(len(spans) for spans in films[:-1])]), [len(f) for f in films])
    return FilmRows(np.concatenate(films), first_rows)


@pytest.mark.parametrize("whole", [60.0, 63.0, DAY, DAY + 3.3, LONGEST])
@pytest.mark.parametrize("overlap", [0.0, 0.5])
@pytest.mark.parametrize("seconds", [10.0, 7.3])
def test_segments_of_one_length_are_no_shots_however_they_lie_in_a_film_of_36_hours(
    whole: float, overlap: float, seconds: float
) -> None:
    ends = np.array([2.0, 7.5, 11.1, 20.0])
    shots = np.stack([np.array([0.0, *ends[:-1]]), ends], axis=1).astype(np.float32)
    film = even(seconds, overlap, whole)
    rows = rows_of(film, shots)
    assert not rows.is_shot[: len(film)].any() and rows.is_shot[len(film) :].all()
    assert rows.cuttings == ["shots", pytest.approx(seconds)]
    assert rows.are_cut(seconds)[: len(film)].all() and not rows.are_cut(seconds)[len(film) :].any()
    found = EvenSegments.of_spans(film)
    assert found is not None and (found.seconds, found.overlap) == (seconds, pytest.approx(overlap, abs=0.05))
    assert EvenSegments.of_spans(shots) is None
