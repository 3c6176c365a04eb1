"""Files that would cost too much end their decoder process, not the service."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssvh_model.video.encoding import write_video
from tasks.serving.decoding import Decoding
from tasks.serving.limits import Limits
from tasks.serving.problems import FILE_GONE, TOO_EXPENSIVE, TOO_MANY, UNREADABLE_VIDEO, Problem


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


@pytest.mark.slow
def test_a_film_is_decoded_by_and_by_in_the_memory_of_some_of_its_frames(tmp_path: Path, clip: Path) -> None:
    """All of its frames would take three times the memory that is allowed."""
    film, decoding = large(tmp_path / "film", side=512, frames=1000), Decoding(Limits(decode_megabytes=256))
    sizes: Any = {"longer_side": 512, "square": 64, "cuts_from": None, "at_once": 32}
    try:
        with decoding.film(film, seconds=40.0, **sizes) as opened:
            frames = opened(0.04)
            shapes = [(batch["frames"].shape, batch["squares"].shape) for batch in frames.batches()]
            assert len(frames) == 1000 and frames.seconds == pytest.approx(40)
            assert shapes[0] == ((32, 512, 512, 3), (32, 64, 64, 3)) and len(shapes) == 32
            assert sum(shape[0] for shape, _ in shapes) == 1000
            # One at a time; other files are looked at meanwhile.
            with pytest.raises(Problem) as second, decoding.film(clip, seconds=3.0, **sizes):
                pass
            assert second.value.kind is TOO_MANY and second.value.retry_after
            assert decoding.probe(clip).seconds == pytest.approx(3)
        with decoding.film(clip, seconds=3.0, **sizes) as opened:
            assert sum(len(batch["frames"]) for batch in opened(0.25).batches()) == 12
    finally:
        decoding.stop()


@pytest.mark.slow
def test_all_of_a_film_may_take_the_processor_time_of_its_minutes(tmp_path: Path, clip: Path) -> None:
    decoding = Decoding(Limits(decode_seconds=1))
    sizes: Any = {"longer_side": 64, "square": None, "cuts_from": 8.0, "at_once": 4}
    film = large(tmp_path / "film", side=2048, frames=4000)
    try:
        # 160 seconds of it, and every frame is looked at: much more than three seconds on any machine.
        with pytest.raises(Problem) as error, decoding.film(film, seconds=160.0, **sizes) as opened:
            list(opened(1.0).batches())
        assert error.value.kind is TOO_EXPENSIVE and "3 s of processor time" in error.value.detail
        assert "--decode-seconds" in error.value.detail and decoding.deaths == 1
        with decoding.film(clip, seconds=3.0, **sizes) as opened:
            assert sum(len(batch["frames"]) for batch in opened(0.25).batches()) == 12
    finally:
        decoding.stop()


def test_a_decoder_has_no_torch() -> None:
    look = "import sys, tasks.serving.decoder; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


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
