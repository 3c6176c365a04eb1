"""Which of the pairs that codes propose show the same recording."""

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
        pairs: rows of those that show one recording, and what the comparison found; the likeliest first.
        scores: of all pairs, in their order, [n] float64; 0 for those that could not be compared.
        unreadable: rows that could not be compared, and why.
    """

    pairs: list[tuple[int, int, Match]]
    scores: np.ndarray
    unreadable: dict[int, str]


def verify(
    pairs: np.ndarray,
    path_of: Callable[[int], str],
    *,
    least: float,
    mirrored: bool = False,
    progress: Progress = no_progress,
) -> Verified:
    """Decode the videos of pairs and keep the pairs that show one recording.

    A pair takes about a tenth of a second on one core, and each video is decoded once if there are not too
    many.

    Args:
        pairs: rows, [pairs, 2] int64, sorted by the first.
        path_of: the file of a row, or its address; "" where it is not known.
        least: score from which on a pair counts, 0 to 1.
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

    found = []
    scores = np.zeros(len(pairs))
    first_row, first = -1, None
    for done, (row, other) in enumerate(pairs.tolist(), start=1):
        if row != first_row:
            frames = frames_of(row)
            # What a search needs of the first video is ten times as large as its frames, and made anew for
            # each.
            first_row, first = row, None if frames is None else PlacedVideo(frames)
        second = frames_of(other)
        if first is not None and second is not None:
            match = compare(first, PlacedVideo(second), mirrored=mirrored)
            scores[done - 1] = match.score
            if match.score >= least:
                found.append((row, other, match))
        progress(done, len(pairs))
    return Verified(sorted(found, key=lambda pair: -pair[2].score), scores, unreadable)
