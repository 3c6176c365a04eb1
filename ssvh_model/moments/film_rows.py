"""Which rows of an index are segments of films, and of which."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from ssvh_model.moments.cutting import Cutting
from ssvh_model.moments.segments import NEAR_SECONDS

LENGTHS = 4  # of segments that a query is cut into; the most frequent ones of an index


class FilmRows:
    """The rows of an index, by video.

    Args:
        spans: seconds at which what each row is of starts and ends, [n, 2] float32.
        first_rows: of each row's video, the row that starts at 0, [n] int64.
    """

    def __init__(self, spans: np.ndarray, first_rows: np.ndarray) -> None:
        self.spans, self.first_rows = spans, first_rows
        # Rows of a video stand together, in the order of time.
        self._order = np.lexsort((spans[:, 0], first_rows))
        self._sorted_firsts = first_rows[self._order]
        self._of_length: dict[float, np.ndarray] = {}

    @classmethod
    def of_videos(cls, ids: Sequence[str], spans: np.ndarray) -> FilmRows:
        """The same from the ids of the rows' videos, n, each of which has one row that starts at 0."""
        starts = spans[:, 0].tolist()
        first = {video: row for row, (video, start) in enumerate(zip(ids, starts, strict=True)) if start == 0}
        return cls(spans, np.array([first[video] for video in ids], dtype=np.int64))

    def of(self, first_row: int) -> np.ndarray:
        """All rows of a video by the one that starts at 0, in the order of time, [segments] int64."""
        low, high = np.searchsorted(self._sorted_firsts, [first_row, first_row + 1])
        rows: np.ndarray = self._order[low:high]
        return rows

    @cached_property
    def is_segment(self) -> np.ndarray:
        """Which rows are of videos that have several, [n] bool."""
        counts = np.bincount(self.first_rows, minlength=len(self.first_rows))
        several: np.ndarray = counts[self.first_rows] > 1
        return several

    @cached_property
    def is_shot(self) -> np.ndarray:
        """Which rows are of videos that are cut into shots, [n] bool.

        Their segments are of several lengths: `NEAR_SECONDS` apart, which float32 tells in videos of up to 36
        hours. A video of one long shot, which is divided, counts as cut into segments of one length.
        """
        lengths = self.spans[:, 1] - self.spans[:, 0]
        unlike = np.zeros(len(lengths), dtype=bool)
        unlike[self.first_rows[np.abs(lengths - lengths[self.first_rows]) > NEAR_SECONDS]] = True
        shots: np.ndarray = unlike[self.first_rows]
        return shots

    def are_cut(self, cutting: Cutting) -> np.ndarray:
        """Which rows are of videos that have several, and are cut in that way, [n] bool."""
        if cutting == "shots":
            return self.is_shot
        if cutting not in self._of_length:
            lengths = self.spans[:, 1] - self.spans[:, 0]
            near = np.abs(lengths - cutting) <= NEAR_SECONDS
            self._of_length[cutting] = self.is_segment & ~self.is_shot & near
        return self._of_length[cutting]

    @cached_property
    def cuttings(self) -> list[Cutting]:
        """How its films are cut: into shots, and the most frequent lengths of segments, longest first."""
        shots: list[Cutting] = ["shots"] if self.is_shot.any() else []
        # A film's first segment tells it exactly; later ones end at numbers whose last digits are rounded
        # away.
        firsts = np.unique(self.first_rows[self.is_segment & ~self.is_shot])
        ends = self.spans[firsts, 1].astype(np.float64)
        lengths, counts = np.unique(np.round(ends, 4), return_counts=True)
        frequent = np.argsort(-counts, kind="stable")[:LENGTHS]
        return [*shots, *sorted((float(lengths[place]) for place in frequent), reverse=True)]
