"""The straightforward way to what `DistanceCounts` counts: from tables of all distances and of what is
relevant.
"""

from __future__ import annotations

import numpy as np

from ssvh_model.retrieval.tie_groups import TieGroups


def group_by_hamming(distances: np.ndarray, relevant: np.ndarray, *, bits: int, own: np.ndarray) -> TieGroups:
    """Group integer distances 0 .. bits: group d holds the videos at distance d.

    Distances have so few values that counting replaces sorting: O(q n).

    Args:
        distances: [q, n] integers.
        relevant: [q, n] bool.
        bits: K, the largest possible distance.
        own: position of each query in the database, left out of its ranking; -1 for none. [q] int64.
    """
    queries, groups = len(distances), bits + 1
    keys = distances + (np.arange(queries, dtype=np.intp) * groups)[:, None]
    items = np.bincount(keys.ravel(), minlength=queries * groups).reshape(queries, groups)
    hits = np.bincount(keys[relevant], minlength=queries * groups).reshape(queries, groups)
    row = np.flatnonzero(own >= 0)
    at = distances[row, own[row]]
    items[row, at] -= 1
    hits[row, at] -= relevant[row, own[row]]
    return TieGroups(items, hits, hits.sum(axis=1))
