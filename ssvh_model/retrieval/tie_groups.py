"""A ranking as groups of equally distant videos.

Within a group the order is arbitrary, so all that may count is how many videos a group has and how many of
them are relevant.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TieGroups:
    """Rankings of the database for q queries, nearest group first.

    Attributes:
        items: videos in each group, [q, groups] int64; 0 where a query has no such group.
        relevant: relevant ones among them, [q, groups] int64.
        total_relevant: relevant videos in the whole database, beyond the groups listed too, [q] int64.
    """

    items: np.ndarray
    relevant: np.ndarray
    total_relevant: np.ndarray


def group_by_value(distances: np.ndarray, relevant: np.ndarray, *, depth: int, own: np.ndarray) -> TieGroups:
    """Group distances of any kind: equal values tie. Only the groups that reach into the first `depth` ranks
    are listed.

    Args:
        distances: [q, n] numbers; none of them infinite or not a number.
        relevant: [q, n] bool.
        depth: ranks of interest.
        own: position of each query in the database, left out of its ranking; -1 for none. [q] int64.
    """
    queries, size = distances.shape
    row = np.flatnonzero(own >= 0)
    distances = distances.astype(np.result_type(distances, np.float32))
    distances[row, own[row]] = np.inf
    total = relevant.sum(axis=1)
    total[row] -= relevant[row, own[row]]
    if size == 0:
        empty = np.zeros((queries, 1), dtype=np.int64)
        return TieGroups(empty, empty, total)

    # A tie group that begins within the depth counts in full, so the list goes up to the last value within
    # it.
    depth = min(depth, size)
    last = np.partition(distances, depth - 1, axis=1)[:, depth - 1 : depth]
    width = int((distances <= last).sum(axis=1).max())
    nearest = np.argpartition(distances, width - 1, axis=1)[:, :width]
    nearest = np.take_along_axis(
        nearest, np.take_along_axis(distances, nearest, axis=1).argsort(axis=1), axis=1
    )
    value = np.take_along_axis(distances, nearest, axis=1)
    counts = (value <= last) & (value < np.inf)

    group = np.zeros((queries, width), dtype=np.intp)
    group[:, 1:] = (value[:, 1:] > value[:, :-1]).cumsum(axis=1)
    keys = group + (np.arange(queries) * width)[:, None]
    hits = np.take_along_axis(relevant, nearest, axis=1) & counts
    shape = (queries, width)
    return TieGroups(
        np.bincount(keys[counts], minlength=queries * width).reshape(shape),
        np.bincount(keys[hits], minlength=queries * width).reshape(shape),
        total,
    )
