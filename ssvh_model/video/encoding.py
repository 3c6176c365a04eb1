"""Frames -> an H.264 file whose bytes depend on nothing but the frames and the settings."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.codec.context import Flags

from ssvh_model.files import atomic_path

# What the bytes would depend on otherwise: the number of threads; whatever lay in the memory before, which
# the macroblock tree of x264 (core 165, assembly on) reads at the edges of pictures whose width is no
# multiple of 32; and, without bitexact, the version of libavformat.
CODEC_OPTIONS: Mapping[str, str] = {"preset": "veryfast", "threads": "1", "x264-params": "mbtree=0"}
CONTAINER_OPTIONS: Mapping[str, str] = {"fflags": "+bitexact", "movflags": "+faststart"}


def write_video(path: Path, frames: np.ndarray, *, rate: Fraction, quality: int) -> None:
    """Encode `frames` with libx264 as an MP4 file, atomically.

    The same frames and settings give the same bytes with the same libraries. The file holds no creation time.

    Args:
        frames: [n, height, width, 3] uint8, RGB; height and width even, as 4:2:0 chroma wants them.
        rate: frames a second.
        quality: x264's constant rate factor, 0 (lossless) to 51 (worst).

    Raises:
        ValueError: the frames have another shape or type, or there are none, or `quality` is outside its
            range.
    """
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or len(frames) == 0:
        raise ValueError(
            f"frames are {frames.dtype} {frames.shape}; wanted is uint8 [n, height, width, 3], n > 0"
        )
    height, width = frames.shape[1:3]
    if height % 2 or width % 2:
        raise ValueError(f"frames are {width} x {height} pixels; both must be even")
    if not 0 <= quality <= 51:
        raise ValueError(f"quality is {quality}; allowed are 0 to 51")
    with (
        atomic_path(path) as temporary,
        av.open(str(temporary), "w", format="mp4", options=dict(CONTAINER_OPTIONS)) as container,
    ):
        stream = container.add_stream("libx264", rate=rate, options={**CODEC_OPTIONS, "crf": str(quality)})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.flags |= Flags.bitexact
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
