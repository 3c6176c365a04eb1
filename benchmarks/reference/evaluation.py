"""Evaluation as released codes do it: all distances at once, sorted, and a loop over the ranks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ssvh_model.retrieval.gmap import MAP_KS, gmap


def map_at_k(
    query: np.ndarray, database: np.ndarray, query_labels: Sequence[str], database_labels: Sequence[str]
) -> dict[int, float]:
    """MAP@K by one label a video, for codes in {-1, +1}, [q, bits] and [n, bits]; ties stay as sorting leaves
    them.
    """
    distances = (database.shape[1] - query.astype(np.float32) @ database.T.astype(np.float32)) / 2
    order = np.argsort(distances, axis=1)
    relevant = np.asarray(query_labels)[:, None] == np.asarray(database_labels)[None]
    sums = dict.fromkeys(MAP_KS, 0.0)
    for row in range(len(query)):
        hits, total = 0, 0.0
        for rank in range(max(MAP_KS)):
            if rank < len(database) and relevant[row, order[row, rank]]:
                hits += 1
                total += hits / (rank + 1)
            if rank + 1 in sums:
                sums[rank + 1] += total / (rank + 1)
    return {k: value / len(query) for k, value in sums.items()}


def reference_gmap(
    query: np.ndarray, database: np.ndarray, query_labels: Sequence[str], database_labels: Sequence[str]
) -> float:
    """GMAP of the same."""
    return gmap(map_at_k(query, database, query_labels, database_labels))
