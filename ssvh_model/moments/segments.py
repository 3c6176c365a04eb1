"""How a long video is cut into segments that have codes of their own: here into such of one length, in
`shots` where its content is cut.

Frames are taken on an even grid and shared by all segments that they lie in, so that each frame is decoded
and goes through the backbone once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ssvh_model.errors import UserError

MOST_OVERLAP = 0.95
NEAR_SECONDS = 0.01  # up to which two times are one, after they were rounded


class Segments(Protocol):
    """A way to cut videos."""

    @property
    def cuts_from(self) -> float | None:
        """Score from which on a frame is a cut (`moments.cuts`); None where cuts do not matter."""

    def can_cut(self, seconds: float) -> bool:
        """Whether a video of that length has more than one segment."""

    def step(self, frames: int) -> float:
        """Seconds between two frames of the grid, where a segment has M frames."""

    def spans(self, count: int, frames: int, *, step: float, seconds: float, cuts: np.ndarray) -> np.ndarray:
        """Where the segments of a video are.

        Args:
            count: frames of the video's grid, at least M.
            frames: M.
            step: seconds between two frames of the grid.
            seconds: of the video.
            cuts: seconds and scores of its cuts, [n, 2] float64, ascending.

        Returns:
            Seconds at which they start and end, [segments, 2] float64, ascending from 0.
        """


@dataclass(frozen=True)
class EvenSegments:
    """Segments of one length, each beginning the same time after the one before. M grid frames lie in each.

    A video no longer than one segment stays whole.

    Attributes:
        seconds: length of a segment, above 0.
        overlap: share of a segment that the next one shows, too, 0 to `MOST_OVERLAP`; rounded so that
            segments begin on the grid.

    Raises:
        UserError: a value is not possible; the message names it as `index.segments.<name>`.
    """

    seconds: float
    overlap: float

    def __post_init__(self) -> None:
        if not 0 < self.seconds < float("inf"):
            raise UserError(f"index.segments.seconds is {self.seconds!r}; allowed are numbers above 0")
        if not 0 <= self.overlap <= MOST_OVERLAP:
            raise UserError(f"index.segments.overlap is {self.overlap!r}; allowed are 0 to {MOST_OVERLAP}")

    @classmethod
    def of_spans(cls, spans: np.ndarray) -> EvenSegments | None:
        """How a video was cut.

        Args:
            spans: seconds at which its segments start and end, [segments, 2], ascending.

        Returns:
            None if it was not: it has one code as a whole, or segments of several lengths, as
            `FilmRows.is_shot` tells them.
        """
        lengths = spans[:, 1] - spans[:, 0]
        if len(spans) == 1 or (np.abs(lengths - lengths[0]) > NEAR_SECONDS).any():
            return None
        seconds = float(lengths[0])
        overlap = 1 - float(spans[1, 0]) / seconds
        return cls(round(seconds, 3), min(MOST_OVERLAP, max(0.0, round(overlap, 3))))

    @property
    def cuts_from(self) -> None:
        """None: cuts do not matter."""

    def can_cut(self, seconds: float) -> bool:
        """Whether a video of that length has more than one segment."""
        return seconds > self.seconds

    def step(self, frames: int) -> float:
        """Seconds between two frames of the grid, where a segment has M frames."""
        return self.seconds / frames

    def spans(self, count: int, frames: int, *, step: float, seconds: float, cuts: np.ndarray) -> np.ndarray:
        """Where the segments of a video are: see `Segments`."""
        starts = self.firsts(count, frames) * step
        return np.stack([starts, starts + frames * step], axis=1)

    def hop(self, frames: int) -> int:
        """Frames of the grid from the start of one segment to the start of the next."""
        return max(1, round(frames * (1 - self.overlap)))

    def firsts(self, count: int, frames: int) -> np.ndarray:
        """The first grid frame of each segment of a video.

        Args:
            count: frames of the video's grid, at least M.
            frames: M.

        Returns:
            [segments] int64, ascending from 0. The last segment ends where the grid does, so that it may
            overlap more.
        """
        last = count - frames
        firsts = np.arange(0, last + 1, self.hop(frames), dtype=np.int64)
        return firsts if firsts[-1] == last else np.append(firsts, last)
