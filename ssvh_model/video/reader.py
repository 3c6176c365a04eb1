"""The frames of an open video, one after the other, and pictures of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ssvh_model.video.container import MAX_PIXELS

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


@dataclass(frozen=True)
class Picture:
    """What is kept of a frame.

    Attributes:
        shown: upright and at its final size, [H, W, 3] uint8 RGB; empty if nobody asked for it.
        square: upright and squeezed into a square, [side, side, 3] float32, 0 to 255, not rounded; None if
            nobody asked for it.
    """

    shown: np.ndarray
    square: np.ndarray | None


class FrameReader:
    """Iterates over the frames that decode, in the decoder's order, and steps over those that don't.

    Attributes:
        packets: number of packets read since the start or the last `restart`.
        failures: number of packets or frames that did not decode.
        first_error: "" or what the first failure was, as " (...)".
        wanted: time stamps of the frames that matter, if only some do: others that no frame leans on are not
            decoded.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        longer_side: int | None,
        square: int | None = None,
    ) -> None:
        from av.video.reformatter import VideoReformatter

        self._container, self._stream = container, stream
        self._longer_side, self._square = longer_side, square
        # One for each size: it would begin anew whenever the size changes.
        self._reformatter, self._to_square = VideoReformatter(), VideoReformatter()
        self._size: tuple[int, int] | None = None  # of the first picture; every other one is brought to it
        self.failures = 0
        self.first_error = ""
        self.wanted: Collection[int] | None = None
        self.restart()

    def restart(self) -> None:
        """Go on at the container's place, after a seek."""
        self.packets = 0
        self._frames = self._decode()

    def __iter__(self) -> FrameReader:
        return self

    def __next__(self) -> VideoFrame:
        return next(self._frames)

    def _decode(self) -> Iterator[VideoFrame]:
        import av

        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError:
                packet = None  # what is left of a damaged file; the packet table has said so
            if packet is None:
                return
            self.packets += 1
            if self.wanted is not None:
                matters = packet.pts is None or packet.pts in self.wanted
                self._stream.codec_context.skip_frame = "DEFAULT" if matters else "NONREF"
            try:
                frames = packet.decode()
            except av.error.FFmpegError as error:
                self._failed(str(error.strerror))
                continue
            for frame in frames:
                if frame.is_corrupt:
                    self._failed("marked corrupt by the decoder")
                elif frame.width * frame.height > MAX_PIXELS:
                    self._failed("frame too large")
                else:
                    yield frame

    def _failed(self, error: str) -> None:
        self.failures += 1
        self.first_error = self.first_error or f" ({error})"

    def picture(self, frame: VideoFrame) -> Picture:
        """What is kept of the frame."""
        turns = quarter_turns(frame)
        return Picture(self._shown(frame, turns), self._squeezed(frame, turns))

    def _shown(self, frame: VideoFrame, turns: int) -> np.ndarray:
        if self._longer_side == 0:
            return np.empty((0, 0, 3), dtype=np.uint8)
        if self._size is None:
            scale = min(
                1.0, (self._longer_side or frame.width + frame.height) / max(frame.width, frame.height)
            )
            width, height = max(1, round(frame.width * scale)), max(1, round(frame.height * scale))
            self._size = (height, width) if turns % 2 else (width, height)
        width, height = self._size[::-1] if turns % 2 else self._size
        rgb = self._reformatter.reformat(
            frame, width, height, "rgb24", interpolation="BILINEAR", threads=1
        ).to_ndarray()
        return np.ascontiguousarray(np.rot90(rgb, turns))

    def _squeezed(self, frame: VideoFrame, turns: int) -> np.ndarray | None:
        """The whole frame in a square, bilinear with an antialiasing filter."""
        if self._square is None:
            return None
        rgb = self._to_square.reformat(
            frame, self._square, self._square, "gbrpf32le", interpolation="BILINEAR", threads=1
        ).to_ndarray()
        return np.rot90(rgb, turns) * np.float32(255)


def quarter_turns(frame: VideoFrame) -> int:
    """How many times the frame must be turned by 90 degrees counterclockwise to be upright; 0..3."""
    return round(frame.rotation / 90) % 4
