"""How much a frame looks like the start of a new shot: FFmpeg's scene change score, from small copies of the
frames.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

SIDE = 64  # pixels of the copies; larger ones give the same cuts
MOST = 100.0  # what a score can be


class CutScores:
    """Scores of frames that follow each other.

    A score is by how much a frame differs from the one before, as a share of what is possible in percent, or
    by how much more than that one differed from its own, if that is less: so that what moves all the time has
    low scores (FFmpeg's filter `scdet`).
    """

    def __init__(self) -> None:
        import av
        from av.filter import Graph
        from av.video.reformatter import VideoReformatter

        self._reformatter = VideoReformatter()
        self._graph, self._seen = Graph(), 0
        self._graph.threads = 1  # frames are small
        self._time_base = Fraction(1, 25)  # any: only the order of frames counts
        source = self._graph.add_buffer(
            width=SIDE, height=SIDE, format=av.VideoFormat("rgb24"), time_base=self._time_base
        )
        self._graph.link_nodes(source, self._graph.add("scdet"), self._graph.add("buffersink")).configure()

    def next(self, frame: VideoFrame) -> float:
        """Score of the next frame, 0 to 100."""
        small = self._reformatter.reformat(frame, SIDE, SIDE, "rgb24", interpolation="AREA", threads=1)
        small.pts, small.time_base = self._seen, self._time_base
        self._graph.vpush(small)
        self._seen += 1
        return float(self._graph.vpull().metadata["lavfi.scd.score"])
