"""Comparing the pairs that codes propose by their frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ssvh_model.copies.compare import Match, compare
from ssvh_model.copies.compared_frames import ComparedFrames, read_frames
from ssvh_model.copies.placement import PlacedVideo
from ssvh_model.progress import Progress, no_progress
from ssvh_model.video.decoding import UnreadableVideo
from ssvh_model.video.places import opened_file

VIDEOS_IN_MEMORY = 512  # 0.5 MB each, 4 MB for one of half a minute and more


@dataclass(frozen=True)
class Verified:
    """Pairs that were compared.

    Attributes:
        matches: what the comparison of each found, in their order; None for those that could not be compared.
        unreadable: rows that could not be compared, and why.
    """

    matches: list[Match | None]
    unreadable: dict[int, str]

    @property
    def scores(self) -> np.ndarray:
        """Of the pairs, each by its two videos alone, [pairs] float64; 0 for those that could not be
        compared.
        """
        return np.array([0.0 if match is None else match.score for match in self.matches])


def verify(
    pairs: np.ndarray,
    path_of: Callable[[int], str],
    *,
    mirrored: bool = False,
    progress: Progress = no_progress,
) -> Verified:
    """Decode the videos of pairs and compare the two of each.

    A pair takes about a tenth of a second on one core, and each video is decoded once if there are not too
    many.

    Args:
        pairs: rows, [pairs, 2] int64, those of one first row behind each other.
        path_of: the file of a row, or its address; "" where it is not known.
        mirrored: whether mirror images count, too.
        progress: counts pairs.
    """
    unreadable: dict[int, str] = {}

    @lru_cache(maxsize=VIDEOS_IN_MEMORY)
    def frames_of(row: int) -> ComparedFrames | None:
        try:
            if not (path := path_of(row)):
                raise UnreadableVideo("its file is not known")
            with opened_file(path) as file:
                return read_frames(file)
        except UnreadableVideo as error:
            unreadable[row] = str(error)
            return None

    matches: list[Match | None] = []
    first_row, first = -1, None
    for row, other in pairs.tolist():
        if row != first_row:
            frames = frames_of(row)
            # What a search needs of the first video is ten times as large as its frames, and made anew for
            # each.
            first_row, first = row, None if frames is None else PlacedVideo(frames)
        second = frames_of(other)
        match = None
        if first is not None and second is not None:
            match = compare(first, PlacedVideo(second), mirrored=mirrored)
        matches.append(match)
        progress(len(matches), len(pairs))
    return Verified(matches, unreadable)
