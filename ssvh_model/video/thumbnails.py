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
        from PIL import Image

        return [
            np.asarray(Image.open(io.BytesIO(data.tobytes())).convert("RGB"))
            for data in self._file["thumbnails"][self._rows[video]]
        ]

    def middle(self, video: str) -> np.ndarray:
        """The frame in the middle, which stands for the video."""
        frames = self.frames(video)
        return frames[len(frames) // 2]
