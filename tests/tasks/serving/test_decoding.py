"""Files that would cost too much end their decoder process, not the service."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ssvh_model.video.encoding import write_video
from tasks.serving.decoding import Decoding
from tasks.serving.limits import Limits
from tasks.serving.problems import FILE_GONE, TOO_EXPENSIVE, UNREADABLE_VIDEO, Problem


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    frames = np.random.default_rng(0).integers(0, 256, (12, 64, 96, 3), dtype=np.uint8)
    write_video(tmp_path / "clip.mp4", frames, rate=Fraction(4), quality=30)
    return tmp_path / "clip.mp4"


def large(path: Path, *, side: int, frames: int) -> Path:
    """A raw video whose bytes are all zero; it takes no room on the disk."""
    header, frame = f"YUV4MPEG2 W{side} H{side} F25:1 C420\n".encode(), b"FRAME\n"
    with open(path, "wb") as file:
        file.write(header)
        for _ in range(frames):
            file.write(frame)
            file.seek(side * side * 3 // 2, 1)
        file.truncate()
    return path


def refused(decoding: Decoding, path: Path) -> Problem:
    with pytest.raises(Problem) as error:
        decoding.frames(path, count=4, longer_side=64, square=None)
    return error.value


def test_memory_is_limited(tmp_path: Path, clip: Path) -> None:
    decoding = Decoding(Limits(decode_megabytes=64))
    try:
        problem = refused(decoding, large(tmp_path / "large", side=8000, frames=2))
        assert problem.kind in (UNREADABLE_VIDEO, TOO_EXPENSIVE)
        assert decoding.frames(clip, count=4, longer_side=64, square=None).total == 12
    finally:
        decoding.stop()


@pytest.mark.slow
def test_processor_time_is_limited(tmp_path: Path, clip: Path) -> None:
    decoding = Decoding(Limits(decode_seconds=1))
    try:
        # 25 GB to read, some seconds on any machine.
        problem = refused(decoding, large(tmp_path / "long", side=2048, frames=4000))
        assert problem.kind is TOO_EXPENSIVE and "1 s of processor time" in problem.detail
        assert decoding.deaths == 1
        found = decoding.frames(clip, count=4, longer_side=64, square=32)
        assert found.arrays["squares"].shape == (4, 32, 32, 3) and found.seconds == pytest.approx(3)
    finally:
        decoding.stop()


def test_a_look_is_taken_once_and_again_when_the_file_is_another(clip: Path) -> None:
    decoding = Decoding(Limits())
    try:
        first = decoding.look(clip)
        assert (first.frames, first.width, first.height) == (12, 96, 64)
        assert decoding.look(clip) is first
        clip.write_bytes(b"nothing")
        with pytest.raises(Problem) as error:
            decoding.look(clip)
        assert error.value.kind is FILE_GONE
        clip.unlink()
        with pytest.raises(Problem, match="No such file"):
            decoding.look(clip)
    finally:
        decoding.stop()
