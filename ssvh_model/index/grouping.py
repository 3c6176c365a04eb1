"""The best row of each video, where a video has several."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

GROWTH = 4  # by which more rows are asked for while they are of too few videos

Search = Callable[[int], tuple[np.ndarray, np.ndarray]]


def nearest_videos(
    search: Search, count: int, first_rows: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest row of each of the nearest videos.

    Args:
        search: finds so many rows, nearest first, and their distances, [wanted] each; fewer, or -1, where there are no more.
        count: videos, at least 1.
        first_rows: of each row's video, the row that starts at 0, [n] (`Snapshot.first_rows`); None if each video has
            one row.

    Returns:
        Rows [m] int64, nearest first, and their distances [m] int32; m is `count`, or less where there are no more.
    """
    wanted = count
    while True:
        rows, distances = search(wanted)
        there = rows >= 0
        all_seen = int(there.sum()) < wanted
        rows, distances = rows[there], distances[there]
        if first_rows is None:
            return rows, distances
        best = np.sort(np.unique(first_rows[rows], return_index=True)[1])[:count]
        if len(best) == count or all_seen:
            return rows[best], distances[best]
        wanted *= GROWTH
