"""Pairs and groups of near-duplicates: videos whose codes differ in a few bits at most."""

from __future__ import annotations

import numpy as np

from ssvh_model.index.scan import QUERIES_AT_ONCE, within
from ssvh_model.progress import Progress, no_progress


def duplicate_groups(
    words: np.ndarray,
    *,
    radius: int,
    first_rows: np.ndarray | None = None,
    progress: Progress = no_progress,
) -> list[np.ndarray]:
    """Groups in which each video is at most `radius` bits from another one of the group (single linkage).

    Two videos of several rows are so near if any two of their rows are.

    Every pair is looked at once, the same code once for all videos that have it: n videos take about n^2 /
    10^10 seconds on one core.

    Args:
        words: codes, [n, words] uint64.
        radius: in bits, from 0.
        first_rows: of each row's video, the row that starts at 0, [n] int64 (`FilmRows.first_rows`); None if
            each video has one row.
        progress: counts different codes.

    Returns:
        First rows of the videos of each group of two or more, ascending; the largest group first, then by its
        first row.
    """
    codes, code_of = np.unique(words, axis=0, return_inverse=True)
    code_of = code_of.ravel()
    links = _near_codes(codes, radius, progress)
    if first_rows is None:
        return _linked(links, len(codes), code_of)
    # All codes of a video hang together.
    links = np.concatenate([links, np.stack([code_of, code_of[first_rows]])], axis=1)
    firsts = np.flatnonzero(first_rows == np.arange(len(first_rows)))
    return [firsts[group] for group in _linked(links, len(codes), code_of[firsts])]


def duplicate_pairs(
    words: np.ndarray,
    *,
    radius: int,
    first_rows: np.ndarray | None = None,
    progress: Progress = no_progress,
) -> np.ndarray:
    """All pairs of videos that are at most `radius` bits apart, or have rows that are.

    Args:
        words, radius, first_rows, progress: as for `duplicate_groups`.

    Returns:
        First rows of the videos, [pairs, 2] int64, the smaller first; ascending.
    """
    codes, code_of = np.unique(words, axis=0, return_inverse=True)
    near = _near_codes(codes, radius, progress)
    order = np.argsort(code_of.ravel(), kind="stable")
    rows_of = np.split(order, np.cumsum(np.bincount(code_of.ravel(), minlength=len(codes)))[:-1])
    found = []
    for rows in rows_of:
        first, second = np.triu_indices(len(rows), 1)
        found.append(np.stack([rows[first], rows[second]], axis=1))
    for first, second in near.T.tolist():
        both = np.meshgrid(rows_of[first], rows_of[second], indexing="ij")
        found.append(np.stack([rows.ravel() for rows in both], axis=1))
    pairs = np.concatenate([np.empty((0, 2), dtype=np.int64), *found])
    if first_rows is not None:
        pairs = first_rows[pairs]
        pairs = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)
    pairs = np.sort(pairs, axis=1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def groups_of_pairs(pairs: np.ndarray, videos: int) -> list[np.ndarray]:
    """Groups in which each video is in one pair with another one of the group.

    Args:
        pairs: rows, [pairs, 2] int64.
        videos: how many there are.

    Returns:
        As `duplicate_groups`.
    """
    return _linked(pairs.T.reshape(2, -1), videos, np.arange(videos))


def _near_codes(codes: np.ndarray, radius: int, progress: Progress) -> np.ndarray:
    """Pairs of different codes [n, words] uint64 that are at most `radius` bits apart, [2, pairs] int64."""
    pairs = [np.empty((2, 0), dtype=np.int64)]
    for start in range(0, len(codes), QUERIES_AT_ONCE):
        # What comes before has been compared already.
        for which, row, _ in within(codes[start : start + QUERIES_AT_ONCE], codes[start:], radius=radius):
            later = row > which
            pairs.append(np.stack([start + which[later], start + row[later]]))
        progress(min(start + QUERIES_AT_ONCE, len(codes)), len(codes))
    return np.concatenate(pairs, axis=1)


def _linked(links: np.ndarray, nodes: int, node_of: np.ndarray) -> list[np.ndarray]:
    """Rows that are linked, by whatever way, in groups of two or more.

    Args:
        links: pairs of nodes, [2, pairs].
        nodes: how many there are.
        node_of: of each row, [n].
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(node_of):
        return []
    first, second = links
    graph = coo_array((np.ones(len(first), dtype=bool), (first, second)), shape=(nodes, nodes))
    group_of = connected_components(graph, directed=False)[1][node_of]
    order = np.argsort(group_of, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(group_of[order])) + 1)
    return sorted((group for group in groups if len(group) > 1), key=lambda group: (-len(group), group[0]))
