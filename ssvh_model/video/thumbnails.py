"""Pictures of the sampled frames of videos, as stage features keeps them."""

from __future__ import annotations

import io
from pathlib import Path

import h5py
import numpy as np


class Thumbnails:
    """Frame pictures by video id.

    Raises:
        UserError: the file is missing.
    """

    def __init__(self, path: Path) -> None:
        self._file = h5py.File(path, "r")
        self._rows = {value.decode("utf-8"): row for row, value in enumerate(self._file["ids"][:])}

    def frames(self, video: str) -> list[np.ndarray]:
        """The M sampled frames of a video, [height, width, 3] uint8 each."""
        return [_decoded(data) for data in self._jpegs(video)]

    def middle(self, video: str) -> np.ndarray:
        """The frame in the middle, which stands for the video."""
        jpegs = self._jpegs(video)
        return _decoded(jpegs[len(jpegs) // 2])

    def _jpegs(self, video: str) -> np.ndarray:
        jpegs: np.ndarray = self._file["thumbnails"][self._rows[video]]
        return jpegs


def _decoded(jpeg: np.ndarray) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(jpeg.tobytes())).convert("RGB"))
