"""Small videos of every kind, and a backbone that costs nothing."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor

from ssvh_model.features import FeatureMeta

MakeVideo = Callable[..., Path]


def level(index: int) -> int:
    """Brightness of frame `index`: steps of 12, far above what compression changes; repeats after 20
    frames.
    """
    return 8 + 12 * (index % 20)


def break_after_first_frame(path: Path) -> None:
    """Leave of a video only the first frame, so that a look into it finds nothing wrong."""
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    for start, size in places[1:]:
        content[start : start + size] = bytes(size)
    path.write_bytes(content)


def read_levels(frames: np.ndarray) -> list[int]:
    """Frame index modulo 20 by brightness, of pictures [n, H, W, 3] made by `make_video`."""
    return [round((value - 8) / 12) for value in frames.mean(axis=(1, 2, 3))]


def video_maker(folder: Path) -> MakeVideo:
    """A function that writes a video in `folder` whose frame i has brightness level(i)."""

    def make(
        name: str = "video.mp4",
        frames: int = 20,
        *,
        width: int = 64,
        height: int = 48,
        codec: str = "libx264",
        options: dict[str, str] | None = None,
        container_options: dict[str, str] | None = None,
        times: Sequence[int] | None = None,
    ) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w", options=container_options or {}) as container:
            stream = container.add_stream(codec, rate=25, options={"threads": "1", **(options or {})})
            stream.width, stream.height = width, height
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            stream.time_base = Fraction(1, 25)
            for index in range(frames):
                picture = np.full((height, width, 3), level(index), dtype=np.uint8)
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 25)
                for packet in stream.encode(frame):
                    if times is not None:
                        packet.pts = times[packet.pts] + frames  # never before its turn to be decoded
                    container.mux(packet)
            container.mux(stream.encode(None))
        return path

    return make


def turn(path: Path, quarter_turns_clockwise: int) -> None:
    """Write a rotation into the track header of an MP4 file."""
    one = 1 << 16
    a, b = [(one, 0), (0, one), (-one, 0), (0, -one)][quarter_turns_clockwise % 4]
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    struct.pack_into(">9i", data, matrix, a, b, 0, -b, a, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


class MeanColours:
    """A backbone whose feature is the mean colour: what extraction does with it shows in the values. D =
    3.
    """

    name, size, feature_size, weights_sha256 = "mean colours", 32, 3, "0" * 64
    engine, precision, takes_squares = "torch", "float32", False
    device = torch.device("cpu")

    @property
    def meta(self) -> FeatureMeta:
        return FeatureMeta(self.name, self.weights_sha256, self.size, self.engine, self.precision)

    def __call__(self, frames: np.ndarray | Tensor) -> Tensor:
        return self.features(self.prepare(frames))

    def prepare(self, frames: np.ndarray | Tensor) -> Tensor:
        return torch.as_tensor(frames).permute(0, 3, 1, 2).float()[:, :, :32, :32]

    def features(self, planes: Tensor) -> Tensor:
        return planes.mean((2, 3))
