"""How a long video is cut into segments that have codes of their own.

Frames are taken on an even grid, M of them in the length of a segment, and shared by all segments that they lie in, so that each frame is
decoded and goes through the backbone once. A video no longer than one segment stays whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ssvh_model.errors import UserError

MOST_OVERLAP = 0.95


@dataclass(frozen=True)
class EvenSegments:
    """Segments of one length, each beginning the same time after the one before.

    Attributes:
        seconds: length of a segment, above 0.
        overlap: share of a segment that the next one shows, too, 0 to `MOST_OVERLAP`; rounded so that segments begin on the grid.

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
            None if it has one code as a whole.
        """
        if len(spans) == 1:
            return None
        seconds = float(spans[0, 1] - spans[0, 0])
        overlap = 1 - float(spans[1, 0]) / seconds
        return cls(round(seconds, 3), min(MOST_OVERLAP, max(0.0, round(overlap, 3))))

    def step(self, frames: int) -> float:
        """Seconds between two frames of the grid, where a segment has M frames."""
        return self.seconds / frames

    def hop(self, frames: int) -> int:
        """Frames of the grid from the start of one segment to the start of the next."""
        return max(1, round(frames * (1 - self.overlap)))

    def firsts(self, count: int, frames: int) -> np.ndarray:
        """The first grid frame of each segment of a video.

        Args:
            count: frames of the video's grid, at least M.
            frames: M.

        Returns:
            [segments] int64, ascending from 0. The last segment ends where the grid does, so that it may overlap more.
        """
        last = count - frames
        firsts = np.arange(0, last + 1, self.hop(frames), dtype=np.int64)
        return firsts if firsts[-1] == last else np.append(firsts, last)
