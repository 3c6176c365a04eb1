"""Where in which videos a query is: by the code of the whole, or by those of its segments, in their order.

A query that is longer than a segment votes for places: where its segment j, t_j seconds after its start, is
like the segment of a film that starts at s_r, the query would start at s_r - t_j in the film. The place
counts at which the segments are nearest on average.

Shots are of many lengths, and the query's first and last are parts of the film's. But its cuts are the
film's, too: laid on each other, they give the place exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ssvh_model.moments.film_rows import FilmRows
from ssvh_model.moments.query import Query, QueryPart, QueryShots
from ssvh_model.retrieval.hamming import as_words, hamming_distances

GROWTH = 4  # by which more rows are asked for while they are of too few videos
ASKED = 32  # segments of a query that are searched for to find likely films
ROWS_EACH = 100  # rows that each of them finds
FILMS = 50  # likely films whose places are compared, or twice as many as are wanted
LEAST_PAIRS = 0.5  # of the pairs of segments at the best place, that another place must have
LEAST_INSIDE = 0.5  # of a query's seconds, that must lie in the film
PAIRS_EACH = 16  # shots of a film that are laid on each of the query's
NEAR_CUTS = 0.1  # seconds up to which two cuts are one

Group = Literal["video", "none"]
# Finds so many rows for each of some codes, nearest first, and their distances, [q, count] each; fewer, or
# -1, where there are no more.
Search = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Moment:
    """A place in a video that a query is like.

    Attributes:
        row: of the index; of several that lie there, the nearest one.
        distance: bits by which the codes differ, on average where there are several.
        start, end: seconds in the video.
        likeness: at most 1, of the frames, aligned in time, or of the query's soft code to this row's code;
            None where only codes were compared.
    """

    row: int
    distance: float
    start: float
    end: float
    likeness: float | None = None


@dataclass(frozen=True)
class Rows:
    """The rows that are searched.

    Attributes:
        search: among them.
        words: codes of all rows of the index, [n, words] uint64.
        spans: of all rows, [n, 2] float32.
        films: None if each video has one row.
    """

    search: Search
    words: np.ndarray
    spans: np.ndarray
    films: FilmRows | None


def find_moments(query: Query, rows: Rows, count: int, group: Group) -> list[Moment]:
    """The likeliest places.

    Args:
        query: that is searched for.
        rows: that are searched.
        count: how many, at least 1.
        group: video (the best place of each video) | none (several in one, too).

    Returns:
        Nearest first, equally near ones by row.
    """
    by_the_whole: np.ndarray | None = None
    found: list[Moment] = []
    if rows.films is not None:
        for part in query.parts:
            others = ~rows.films.are_cut(part.cutting)
            by_the_whole = others if by_the_whole is None else by_the_whole & others
            found += _in_films(part, query.seconds, rows, count, group)
    if by_the_whole is None or by_the_whole.any():
        found += _by_the_whole(query.code, rows, count, group, by_the_whole)
    found.sort(key=lambda moment: (moment.distance, moment.row))
    return found[:count]


def find_shortlist(query: Query, rows: Rows, most: int) -> list[Moment]:
    """What a finer order chooses from: the best place of each video, and the best ones of all. Where codes
    are unsure, the right one is not always its film's nearest; of one film alone there may be as many rows.

    Args:
        query: that is searched for.
        rows: that are searched.
        most: places of each of the two kinds.

    Returns:
        Each place once, nearest first, equally near ones by row.
    """
    groups: tuple[Group, ...] = ("video",) if rows.films is None else ("video", "none")
    places = {
        (moment.row, moment.start): moment
        for group in groups
        for moment in find_moments(query, rows, most, group)
    }
    return sorted(places.values(), key=lambda moment: (moment.distance, moment.row))


def _by_the_whole(
    code: np.ndarray, rows: Rows, count: int, group: Group, among: np.ndarray | None
) -> list[Moment]:
    """Rows by the query's own code, `among` some [n] bool, or all."""
    films = rows.films
    wanted = count
    while True:
        row, distance = (found[0] for found in rows.search(code[None], wanted))
        there = row >= 0
        all_seen = int(there.sum()) < wanted
        if among is not None:
            there &= among[row]
        row, distance = row[there], distance[there]
        if films is not None and group == "video":
            best = np.sort(np.unique(films.first_rows[row], return_index=True)[1])
            row, distance = row[best], distance[best]
        if len(row) >= count or all_seen:
            return [
                Moment(one, float(bits), *rows.spans[one].tolist())
                for one, bits in zip(row[:count].tolist(), distance[:count].tolist(), strict=True)
            ]
        wanted *= GROWTH


def _in_films(
    part: QueryPart | QueryShots, seconds: float, rows: Rows, count: int, group: Group
) -> list[Moment]:
    """Places in films that are cut in one way, by what the query is cut into."""
    assert rows.films is not None
    words = as_words(part.codes)
    are_cut = rows.films.are_cut(part.cutting)
    found: list[Moment] = []
    for film in _likely_films(part.codes, are_cut, rows, max(FILMS, 2 * count)):
        own = rows.films.of(film)
        own = own[are_cut[own]]
        spans = rows.spans[own]
        end = float(spans[:, 1].max())
        taken: list[float] = []
        for place, distance in _places(part, hamming_distances(words, rows.words[own]), spans):
            start = float(np.clip(place, 0.0, end))
            if all(abs(start - other) >= seconds / 2 for other in taken):
                taken.append(start)
                nearest = int(np.abs(spans[:, 0] - start).argmin())
                found.append(Moment(int(own[nearest]), distance, start, min(end, start + seconds)))
            if group == "video" or len(taken) == count:
                break
    return found


def _places(
    part: QueryPart | QueryShots, distances: np.ndarray, spans: np.ndarray
) -> Iterator[tuple[float, float]]:
    """Where a query starts in a film, seconds, and the mean distance there, the likeliest place first."""
    if isinstance(part, QueryShots):
        yield from places_by_cuts(distances, part.spans, spans)
        return
    firsts = np.round(spans[:, 0] / part.step)
    for place, distance in places_in_order(distances, part.firsts, firsts, part.unit):
        yield place * part.step, distance


def _likely_films(codes: np.ndarray, are_cut: np.ndarray, rows: Rows, most: int) -> list[int]:
    """First rows of the films, among some rows [n] bool, of which some segments are near some of the query's,
    the likeliest first.
    """
    assert rows.films is not None
    chosen = np.unique(np.linspace(0, len(codes) - 1, ASKED).astype(np.int64))
    row, distance = rows.search(codes[chosen], ROWS_EACH)
    fits = (row >= 0) & are_cut[row]
    asked = np.nonzero(fits)[0]
    films, film = np.unique(rows.films.first_rows[row[fits]], return_inverse=True)
    # What a segment of the query has not found in a film is farther than all that it has found.
    nearest = np.tile(distance.max(axis=1, initial=0).astype(np.float64) + 1, (len(films), 1))
    np.minimum.at(nearest, (film.ravel(), asked), distance[fits])
    order = np.argsort(nearest.sum(axis=1), kind="stable")[:most]
    likely: list[int] = films[order].tolist()
    return likely


def places_in_order(
    distances: np.ndarray, query_firsts: np.ndarray, film_firsts: np.ndarray, unit: int
) -> Iterator[tuple[float, float]]:
    """Where a query starts in a film, the likeliest place first.

    Args:
        distances: of the codes of all segments of the query to all of the film, [q, n].
        query_firsts: first frames of the query's segments, [q], multiples of `unit`.
        film_firsts: first frames of the film's segments, [n].
        unit: frames; places are told apart as finely as that.

    Yields:
        The place, in frames of the film, and the mean distance of the pairs of segments that lie on each
        other there.
    """
    place = np.round((film_firsts[None] - query_firsts[:, None]) / unit).astype(np.int64)
    least = int(place.min())
    sums = np.bincount((place - least).ravel(), weights=distances.ravel())
    pairs = np.bincount((place - least).ravel())
    enough = pairs >= max(1.0, LEAST_PAIRS * pairs.max())
    mean = np.where(enough, sums / np.maximum(pairs, 1), np.inf)
    for best in np.lexsort((-pairs, mean)).tolist():
        if not enough[best]:
            return
        yield float((best + least) * unit), float(mean[best])


def places_by_cuts(
    distances: np.ndarray, query_spans: np.ndarray, film_spans: np.ndarray
) -> Iterator[tuple[float, float]]:
    """Where a query starts in a film, the likeliest place first, where both are cut into shots.

    A place is tried where a shot of the query would start, or end, with one of the film's shots that are most
    like it. There, each shot of the query is compared with the shot of the film that its middle lies in, the
    longer ones counting for more.

    Args:
        distances: of the codes of the query's shots to the film's, [q, n].
        query_spans: seconds at which the query's shots start and end, [q, 2], each where the one before ends;
            q at least 2.
        film_spans: the same of the film, [n, 2].

    Yields:
        The place, in seconds of the film, and the mean distance. Of equally near places the one comes first
        at which more cuts are the same.
    """
    alike = np.argsort(distances, axis=1, kind="stable")[:, :PAIRS_EACH]
    starts = film_spans[alike[1:], 0] - query_spans[1:, :1]
    ends = film_spans[alike[:-1], 1] - query_spans[:-1, 1:]
    places = np.unique(np.round(np.concatenate([starts.ravel(), ends.ravel()]), 3))[:, None]
    middles = places + query_spans.mean(axis=1)
    shot = np.searchsorted(film_spans[:, 0], middles, side="right") - 1
    weights = np.where((shot >= 0) & (middles < film_spans[-1, 1]), np.diff(query_spans, axis=1)[:, 0], 0.0)
    inside = weights.sum(axis=1)
    distance = distances[np.arange(len(query_spans)), np.maximum(shot, 0)]
    mean = (weights * distance).sum(axis=1) / np.maximum(inside, 1e-9)
    cuts, film_cuts = places + query_spans[1:, 0], film_spans[1:, 0]
    after = np.searchsorted(film_cuts, cuts)
    before, after = np.maximum(after - 1, 0), np.minimum(after, len(film_cuts) - 1)
    apart = np.minimum(np.abs(film_cuts[before] - cuts), np.abs(film_cuts[after] - cuts))
    same = (apart <= NEAR_CUTS).sum(axis=1)
    for best in np.lexsort((-same, mean)).tolist():
        if inside[best] >= LEAST_INSIDE * query_spans[-1, 1]:
            yield float(places[best, 0]), float(mean[best])
