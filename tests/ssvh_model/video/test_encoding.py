"""Encoding: the pictures survive, the bytes repeat, and nothing half-written stays."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ssvh_model.video.encoding import write_video

av = pytest.importorskip("av")
RATE = Fraction(15, 2)
REPOSITORY = Path(__file__).resolve().parents[3]


def moving_blocks(frames: int = 20) -> np.ndarray:
    picture = np.random.default_rng(0).integers(0, 256, size=(8, 6, 3), dtype=np.uint8)
    picture = picture.repeat(8, axis=0).repeat(8, axis=1)
    return np.stack([np.roll(picture, 2 * index, axis=1) for index in range(frames)])


def decode(path: Path) -> tuple[np.ndarray, list[float], str]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        decoded = list(container.decode(stream))
        return (
            np.stack([frame.to_ndarray(format="rgb24") for frame in decoded]),
            [frame.time for frame in decoded],
            stream.codec_context.name,
        )


def test_pictures_survive_in_order_at_their_times(tmp_path: Path) -> None:
    frames = moving_blocks()
    write_video(tmp_path / "a.mp4", frames, rate=RATE, quality=18)
    decoded, times, codec = decode(tmp_path / "a.mp4")
    assert codec == "h264"
    assert decoded.shape == frames.shape
    np.testing.assert_allclose(times, np.arange(20) / 7.5, atol=1e-4)
    # Each decoded frame is nearest to its own original, so none is repeated, lost or swapped.
    distance = np.abs(decoded[:, None].astype(int) - frames[None].astype(int)).mean((2, 3, 4))
    # The blocks come round after 24 frames, so 20 of them are all different.
    np.testing.assert_array_equal(distance.argmin(1), np.arange(20))


def test_same_frames_give_the_same_bytes_without_time_or_version(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", moving_blocks(), rate=RATE, quality=30)
    time.sleep(1.1)  # MP4 counts creation times in seconds
    write_video(tmp_path / "b.mp4", moving_blocks(), rate=RATE, quality=30)
    data = (tmp_path / "a.mp4").read_bytes()
    assert data == (tmp_path / "b.mp4").read_bytes()
    header = data.index(b"mvhd")
    assert data[header + 8 : header + 16] == bytes(8), "creation and modification time"
    assert b"Lavf" not in data


def test_bytes_do_not_depend_on_what_lay_in_memory(tmp_path: Path) -> None:
    code = """if True:
    import hashlib, sys
    from pathlib import Path
    import numpy as np
    from ssvh_model.video.encoding import write_video
    from tests.ssvh_model.video.test_encoding import RATE, moving_blocks
    path = Path(sys.argv[1])
    for width in (44, 48, 160):
        for _ in range(2):
            frames = np.concatenate([moving_blocks()] * 4, axis=2)[:, :, :width]
            write_video(path, frames, rate=RATE, quality=30)
            print(hashlib.sha256(path.read_bytes()).hexdigest())"""
    outputs = set()
    for fill in ("1", "37", "170"):  # glibc fills memory with these bytes before it hands it out
        environment = {**os.environ, "MALLOC_PERTURB_": fill, "PYTHONPATH": str(REPOSITORY)}
        command = [sys.executable, "-c", code, str(tmp_path / "a.mp4")]
        outputs.add(
            subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        )
    assert len(outputs) == 1
    assert len(set(outputs.pop().split())) == 3


def test_worse_quality_is_a_smaller_file(tmp_path: Path) -> None:
    sizes = []
    noise = np.random.default_rng(0).integers(0, 256, size=(10, 64, 48, 3), dtype=np.uint8)
    for quality in (20, 32, 45):
        write_video(tmp_path / "a.mp4", noise, rate=RATE, quality=quality)
        sizes.append((tmp_path / "a.mp4").stat().st_size)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 0.7 * sizes[0]


@pytest.mark.parametrize(
    ("frames", "quality", "message"),
    [
        (np.zeros((2, 15, 16, 3), np.uint8), 20, "even"),
        (np.zeros((2, 16, 16, 3), np.float32), 20, "uint8"),
        (np.zeros((0, 16, 16, 3), np.uint8), 20, "n > 0"),
        (np.zeros((2, 16, 16, 3), np.uint8), 52, "0 to 51"),
    ],
)
def test_impossible_input_is_refused_and_leaves_nothing(
    tmp_path: Path, frames: np.ndarray, quality: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write_video(tmp_path / "a.mp4", frames, rate=RATE, quality=quality)
    assert list(tmp_path.iterdir()) == []
