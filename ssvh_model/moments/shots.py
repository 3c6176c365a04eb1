"""Long videos cut where their content is: between two cuts is a shot, which has a code of its own.

What is shorter than a code should stand for is joined with a neighbour, what is longer is divided evenly.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ssvh_model.errors import UserError
from ssvh_model.moments.cuts import MOST

SHORTEST, LONGEST = 2.0, 10.0  # seconds of a shot that has a code
STEP = 0.2  # seconds between two frames of the grid
LEAST_AT_AN_END = 0.5  # seconds of a query before its first cut and after its last one


@dataclass(frozen=True)
class Shots:
    """Segments from cut to cut, of `SHORTEST` to `LONGEST` seconds. A video no longer than `LONGEST` stays
    whole.

    Attributes:
        threshold: score from which on a frame is a cut (`CutScores`), above 0 to 100.

    Raises:
        UserError: the value is not possible; the message names it as `index.segments.threshold`.
    """

    threshold: float = 8.0

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= MOST:
            raise UserError(
                f"index.segments.threshold is {self.threshold!r}; allowed are numbers above 0, at most {MOST:g}"
            )

    @property
    def cuts_from(self) -> float:
        """Score from which on a frame is a cut."""
        return self.threshold

    def can_cut(self, seconds: float) -> bool:
        """Whether a video of that length has more than one segment."""
        return seconds > LONGEST

    def step(self, frames: int) -> float:
        """Seconds between two frames of the grid, for shots of all lengths."""
        return STEP

    def spans(self, count: int, frames: int, *, step: float, seconds: float, cuts: np.ndarray) -> np.ndarray:
        """Where the segments of a video are, each where the one before ends: see `Segments`."""
        return shot_spans(cuts, seconds, least_at_an_end=SHORTEST)


def shot_spans(cuts: np.ndarray, seconds: float, *, least_at_an_end: float) -> np.ndarray:
    """Spans from cut to cut. Of cuts that are nearer to each other than `SHORTEST` the strongest stays,
    equally strong ones the first.

    Which cuts stay is decided by what is around them, so that a clip out of a film has the film's.

    Args:
        cuts: seconds and scores, [n, 2].
        seconds: of the video.
        least_at_an_end: seconds before the first cut and after the last one.

    Returns:
        Seconds at which they start and end, [segments, 2] float64.
    """
    kept: list[float] = []
    for number in np.lexsort((cuts[:, 0], -cuts[:, 1])).tolist():
        second = float(cuts[number, 0])
        place = bisect_left(kept, second)
        near = kept[max(0, place - 1) : place + 1]
        if (
            all(abs(second - other) >= SHORTEST for other in near)
            and least_at_an_end <= second <= seconds - least_at_an_end
        ):
            insort(kept, second)
    edges = [0.0]
    for start, end in pairwise([0.0, *kept, seconds]):
        pieces = max(1, int(np.ceil((end - start) / LONGEST - 1e-6)))
        edges += np.linspace(start, end, pieces + 1)[1:].tolist()
    return np.array(list(pairwise(edges)))
