"""Groups of near-duplicates: videos whose codes differ in a few bits at most."""

from __future__ import annotations

import numpy as np

from ssvh_model.index.scan import QUERIES_AT_ONCE, within
from ssvh_model.progress import Progress, no_progress


def duplicate_groups(words: np.ndarray, *, radius: int, progress: Progress = no_progress) -> list[np.ndarray]:
    """Groups in which each video is at most `radius` bits from another one of the group (single linkage).

    Every pair is looked at once, the same code once for all videos that have it: n videos take about n^2 / 10^10 seconds on one core.

    Args:
        words: codes, [n, words] uint64.
        radius: in bits, from 0.
        progress: counts different codes.

    Returns:
        Rows of each group of two or more, ascending; the largest group first, then by its first row.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(words):
        return []
    codes, code_of = np.unique(words, axis=0, return_inverse=True)
    pairs = []
    for start in range(0, len(codes), QUERIES_AT_ONCE):
        # What comes before has been compared already.
        for which, row, _ in within(codes[start : start + QUERIES_AT_ONCE], codes[start:], radius=radius):
            later = row > which
            pairs.append(np.stack([start + which[later], start + row[later]]))
        progress(min(start + QUERIES_AT_ONCE, len(codes)), len(codes))
    first, second = np.concatenate(pairs, axis=1)
    links = coo_array((np.ones(len(first), dtype=bool), (first, second)), shape=(len(codes), len(codes)))
    group_of = connected_components(links, directed=False)[1][code_of.ravel()]
    order = np.argsort(group_of, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(group_of[order])) + 1)
    return sorted((group for group in groups if len(group) > 1), key=lambda group: (-len(group), group[0]))
