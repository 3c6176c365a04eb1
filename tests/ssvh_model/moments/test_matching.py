"""Places of queries in films, beside a search that looks at everything, one by one."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssvh_model.index.scan import nearest
from ssvh_model.moments.film_rows import FilmRows
from ssvh_model.moments.matching import Group, Rows, find_moments, places_by_cuts, places_in_order
from ssvh_model.moments.query import Query, QueryPart, QueryShots
from ssvh_model.retrieval.hamming import as_words

FRAMES, HOP, STEP = 8, 4, 0.25  # of a segment; so that it is 2 seconds long
BYTES = 4


def naive_places(
    distances: np.ndarray, query_firsts: np.ndarray, film_firsts: np.ndarray
) -> dict[int, tuple[float, int]]:
    """For each place in frames, the mean distance and the number of the pairs that lie on each other."""
    found: dict[int, list[int]] = {}
    for j, first in enumerate(query_firsts.tolist()):
        for r, film_first in enumerate(film_firsts.tolist()):
            found.setdefault(film_first - first, []).append(int(distances[j, r]))
    return {place: (float(np.mean(bits)), len(bits)) for place, bits in found.items()}


@given(queries=st.integers(1, 12), segments=st.integers(1, 20), seed=st.integers(0, 2**32 - 1))
def test_a_place_is_as_near_as_the_pairs_that_lie_there(queries: int, segments: int, seed: int) -> None:
    distances = np.random.default_rng(seed).integers(0, 33, (queries, segments))
    query_firsts, film_firsts = np.arange(queries), HOP * np.arange(segments)
    expected = naive_places(distances, query_firsts, film_firsts)
    most = max(pairs for _, pairs in expected.values())
    kept = {place: mean for place, (mean, pairs) in expected.items() if pairs >= max(1, most / 2)}
    found = list(places_in_order(distances, query_firsts, film_firsts, 1))
    assert {round(place): pytest.approx(mean) for place, mean in found} == kept
    assert [mean for _, mean in found] == sorted(mean for _, mean in found)


def film_codes(rng: np.random.Generator, frames: int) -> Callable[[np.ndarray], np.ndarray]:
    """Codes of segments of a film: bits of segments that share frames are alike, as a hasher's would be."""
    values = rng.normal(size=(frames, 8 * BYTES))

    def code(firsts: np.ndarray) -> np.ndarray:
        means = np.stack([values[first : first + FRAMES].mean(axis=0) for first in firsts.tolist()])
        return np.packbits(means > 0, axis=1, bitorder="little")

    return code


class Films:
    """Films whose segments are rows of an index in mixed order, and some whole clips."""

    def __init__(self, seed: int, films: int = 5, frames: int = 120, clips: int = 7) -> None:
        rng = np.random.default_rng(seed)
        self.codes_of = [film_codes(rng, frames) for _ in range(films)]
        self.frames = frames
        firsts = np.arange(0, frames - FRAMES + 1, HOP)
        clip_codes = rng.integers(0, 256, (clips, BYTES), dtype=np.uint8)
        codes = np.concatenate([code(firsts) for code in self.codes_of] + [clip_codes])
        starts = np.concatenate([firsts * STEP] * films + [np.zeros(clips)])
        ends = starts + FRAMES * STEP
        video = np.concatenate([np.repeat(np.arange(films), len(firsts)), films + np.arange(clips)])
        order = rng.permutation(len(codes))
        self.video, self.codes = video[order], codes[order]
        spans = np.stack([starts, ends], axis=1)[order].astype(np.float32)
        first = {one: row for row, one in enumerate(self.video.tolist()) if spans[row, 0] == 0}
        first_rows = np.array([first[one] for one in self.video.tolist()])
        words = as_words(self.codes)
        self.rows = Rows(
            lambda asked, count: nearest(as_words(asked), words, count=count),
            words,
            spans,
            FilmRows(spans, first_rows),
        )

    def query(self, film: int, first: int, frames: int) -> Query:
        """What is cut out of a film."""
        firsts = np.arange(0, frames - FRAMES + 1)
        codes = self.codes_of[film](first + firsts)
        features = np.zeros((frames, 1), np.float16)
        part = QueryPart(FRAMES * STEP, STEP, features, firsts, 1, codes)
        return Query(frames * STEP, codes[0], features, [part])


@pytest.mark.parametrize("seed", range(4))
def test_what_is_cut_out_of_a_film_is_found_there(seed: int) -> None:
    films = Films(seed)
    rng = np.random.default_rng(seed)
    for _ in range(10):
        film, frames = int(rng.integers(5)), int(rng.integers(FRAMES + HOP, 60))
        first = int(rng.integers(films.frames - frames + 1))
        best = find_moments(films.query(film, first, frames), films.rows, 3, "video")[0]
        assert films.video[best.row] == film and best.distance == 0
        assert best.start == pytest.approx(first * STEP) and best.end == pytest.approx(
            (first + frames) * STEP
        )


@pytest.mark.parametrize("group", ["video", "none"])
def test_each_video_comes_once_or_with_places_that_lie_apart(group: Group) -> None:
    films = Films(1)
    query = films.query(2, 13, 40)
    found = find_moments(query, films.rows, 30, group)
    videos = [int(films.video[moment.row]) for moment in found]
    assert found == sorted(found, key=lambda moment: (moment.distance, moment.row))
    if group == "video":
        assert sorted(videos) == list(range(12)), "films by their segments, clips as a whole"
    else:
        assert len(videos) > 12
        for film in range(5):
            starts = sorted(
                moment.start for moment, video in zip(found, videos, strict=True) if video == film
            )
            assert all(later - earlier >= query.seconds / 2 for earlier, later in itertools.pairwise(starts))


@pytest.mark.parametrize("group", ["video", "none"])
def test_a_code_finds_the_nearest_rows(group: Group) -> None:
    films = Films(3)
    code = films.codes_of[1](np.array([10]))[0]
    distance = np.unpackbits(films.codes ^ code, axis=1).sum(axis=1)
    order = np.argsort(distance, kind="stable").tolist()
    if group == "video":
        order = list({films.video[row]: row for row in reversed(order)}.values())
        order.sort(key=lambda row: (distance[row], row))
    found = find_moments(Query(0.0, code), films.rows, 9, group)
    assert [(moment.row, moment.distance) for moment in found] == [(row, distance[row]) for row in order[:9]]


def test_a_length_is_exact_however_long_the_film() -> None:
    step, firsts = 7.125 / 25, np.arange(0, 400_000, 12)
    starts = firsts * step
    spans = np.stack([starts, starts + 7.125], axis=1).astype(np.float32)
    films = FilmRows(
        np.concatenate([spans, [[0, 4]]]), np.append(np.zeros(len(firsts), np.int64), len(firsts))
    )
    assert films.cuttings == [7.125]
    assert films.are_cut(7.125).tolist() == [True] * len(firsts) + [False]


def shots_of(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Spans and codes of a film's shots."""
    edges = np.concatenate([[0.0], np.cumsum(rng.uniform(2, 10, count))])
    return np.stack([edges[:-1], edges[1:]], axis=1), rng.integers(0, 256, (count, BYTES), dtype=np.uint8)


def cut_out(spans: np.ndarray, codes: np.ndarray, start: float, end: float) -> QueryShots:
    """The shots of a clip out of a film; those at its ends are parts of the film's."""
    inside = (spans[:, 1] > start) & (spans[:, 0] < end)
    own = np.clip(spans[inside], start, end) - start
    return QueryShots(STEP, np.zeros((int((end - start) / STEP), 1), np.float16), own, codes[inside])


@pytest.mark.parametrize("seed", range(4))
def test_a_clip_lies_where_its_cuts_are_among_films_that_are_cut_in_several_ways(seed: int) -> None:
    rng = np.random.default_rng(seed)
    even = Films(seed)
    shots = [shots_of(rng, 40) for _ in range(4)]
    spans = np.concatenate([even.rows.spans, *(one for one, _ in shots)]).astype(np.float32)
    codes = np.concatenate([even.codes, *(own for _, own in shots)])
    video = np.concatenate([even.video, 100 + np.repeat(np.arange(4), 40)])
    first = {one: row for row, one in enumerate(video.tolist()) if spans[row, 0] == 0}
    films = FilmRows(spans, np.array([first[one] for one in video.tolist()]))
    assert films.cuttings == ["shots", FRAMES * STEP]
    assert (films.is_shot == (video >= 100)).all()
    assert (films.are_cut(FRAMES * STEP) == (video < 5)).all()
    words = as_words(codes)
    rows = Rows(lambda asked, count: nearest(as_words(asked), words, count=count), words, spans, films)
    for _ in range(10):
        film, seconds = int(rng.integers(4)), float(rng.uniform(20, 60))
        start = float(rng.uniform(0, shots[film][0][-1, 1] - seconds))
        part = cut_out(*shots[film], start, start + seconds)
        segments = even.query(0, 3, 30).parts[0]
        unlike = rng.integers(0, 256, segments.codes.shape, dtype=np.uint8)
        query = Query(seconds, unlike[0], None, [part, replace(segments, codes=unlike)])
        found = find_moments(query, rows, 100, "video")
        best = found[0]
        assert video[best.row] == 100 + film and best.distance == 0
        assert (best.start, best.end) == (
            pytest.approx(start, abs=2e-3),
            pytest.approx(start + seconds, abs=2e-3),
        )
        videos = [int(video[moment.row]) for moment in found]
        assert len(videos) == len(set(videos)) and set(videos) >= set(range(5, 12)), "clips as a whole, too"
    # By films that are cut evenly, the clip out of one of them; films in shots have no place for it.
    clip = even.query(1, 20, 40)
    best = find_moments(clip, rows, 1, "video")[0]
    assert video[best.row] == 1 and best.start == pytest.approx(20 * STEP)


@pytest.mark.parametrize("seed", range(6))
def test_a_place_is_as_near_as_the_shots_that_lie_there(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spans, _ = shots_of(rng, 12)
    own = cut_out(*shots_of(rng, 20), 7.0, 40.0).spans
    distances = rng.integers(0, 33, (len(own), len(spans)))
    found = list(places_by_cuts(distances, own, spans))
    assert found and [mean for _, mean in found] == sorted(mean for _, mean in found)
    tried = [spans[r, 0] - own[j, 0] for j in range(1, len(own)) for r in range(len(spans))]
    tried += [spans[r, 1] - own[j, 1] for j in range(len(own) - 1) for r in range(len(spans))]
    naive = {}
    for place in tried:
        bits = seconds = 0.0
        for j, (start, end) in enumerate(own.tolist()):
            for r, (film_start, film_end) in enumerate(spans.tolist()):
                if film_start <= place + (start + end) / 2 < film_end:
                    bits, seconds = bits + (end - start) * distances[j, r], seconds + end - start
        if seconds >= own[-1, 1] / 2:
            naive[round(place, 3)] = bits / seconds
    assert {place: pytest.approx(mean) for place, mean in found} == naive
