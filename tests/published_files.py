"""Small files in the form of the published data sets."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from scipy import io

from ssvh_model.corpus.published.sets import FEATURES_KEY, PUBLISHED_SETS

FRAMES, SIZE, CLASSES = 6, 16, 4


def write_published(folder: Path, dataset: str, *, videos: int = 24, seed: int = 0) -> None:
    """Every file of a data set: `videos` rows each, row i of class i % CLASSES; FCVID's every fifth row of a
    second class.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    centres = 2 * np.random.default_rng(99).random((CLASSES, 1, SIZE))
    for part in PUBLISHED_SETS[dataset].parts:
        classes = np.arange(videos) % CLASSES
        with h5py.File(folder / part.features, "w") as file:
            noise = 0.3 * rng.random((videos, FRAMES, SIZE))
            file[FEATURES_KEY] = (centres[classes] + noise).astype(np.float32)
        if part.labels is not None:
            table = np.eye(CLASSES, dtype=np.uint8)[classes]
            if dataset == "fcvid":
                table[::5] |= np.roll(table[::5], 1, axis=1)
            io.savemat(folder / part.labels, {part.labels_key: table})


def features_of(folder: Path, dataset: str) -> np.ndarray:
    """All features of a data set in the order of its files, float32."""
    parts = []
    for part in PUBLISHED_SETS[dataset].parts:
        with h5py.File(folder / part.features, "r") as file:
            parts.append(file[FEATURES_KEY][:])
    return np.concatenate(parts)
