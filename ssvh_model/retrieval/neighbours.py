"""The nearest database videos of a few queries, for looking at them."""

from __future__ import annotations

import numpy as np

from ssvh_model.retrieval.hamming import hamming_distances


def nearest_neighbours(
    query: np.ndarray, database: np.ndarray, *, count: int, own: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest videos by Hamming distance; equally near ones in the order of the database.

    Args:
        query, database: packed codes, [q, bytes] and [n, bytes] uint8.
        count: how many; less where the database is smaller.
        own: position of each query in the database, which is left out; -1 for none
            (`relevance.own_positions`). [q] int64.

    Returns:
        Positions in the database, [q, count] int64, -1 where there is none; and their distances, [q, count]
        int64.
    """
    distances = hamming_distances(query, database).astype(np.int64)
    count = min(count, len(database))
    row = np.flatnonzero(own >= 0)
    beyond = np.iinfo(np.int64).max
    distances[row, own[row]] = beyond
    order = distances.argsort(axis=1, kind="stable")[:, :count]
    nearest = np.take_along_axis(distances, order, axis=1)
    order[nearest == beyond] = -1
    return order, nearest
