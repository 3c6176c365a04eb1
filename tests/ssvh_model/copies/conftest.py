"""Recordings of made-up scenes: things that move before a background."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from ssvh_model.copies.compared_frames import compared_frames
from ssvh_model.copies.placement import PlacedVideo
from ssvh_model.corpus.distortions import Distortion, distort

HEIGHT, WIDTH, RATE = 96, 128, 10

Recorder = Callable[..., np.ndarray]


@pytest.fixture(scope="session")
def record() -> Recorder:
    """Frames [n, 96, 128, 3] uint8, ten a second: what moves is drawn from one seed, the background from
    another.
    """

    def make(seed: int, *, scene: int = 0, frames: int = 60, speed: float = 1.0) -> np.ndarray:
        rng = np.random.default_rng([7, scene])
        coarse = rng.integers(40, 200, (9, 12, 3), dtype=np.uint8)
        ground = np.asarray(Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
        video = np.repeat(ground[None], frames, axis=0)
        rng = np.random.default_rng(seed)
        for _ in range(4):
            size = int(rng.integers(8, 16))
            colour = rng.integers(0, 256, 3, dtype=np.uint8)
            turns, phases = rng.uniform(0.5, 2.0, 2), rng.uniform(0, 2 * np.pi, 2)
            for number, frame in enumerate(video):
                second = number * speed / RATE
                y, x = (0.5 + 0.4 * np.sin(turns * second + phases)) * (HEIGHT - size, WIDTH - size)
                frame[int(y) : int(y) + size, int(x) : int(x) + size] = colour
        return video

    return make


def upload(frames: np.ndarray, *, seed: int = 0, **how: float) -> np.ndarray:
    """The same as it would be uploaded again."""
    return distort(frames, Distortion(**how), longer_side=WIDTH, rng=np.random.default_rng(seed))


def watched(frames: np.ndarray) -> PlacedVideo:
    """Frames at ten a second, ready for a comparison."""
    return PlacedVideo(compared_frames(frames, step=1 / RATE))
