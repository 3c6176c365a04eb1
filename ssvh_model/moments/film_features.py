"""Feature files of films: the features of one film's frames on its grid, and where its segments begin."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from ssvh_model.errors import UserError
from ssvh_model.features import FeatureMeta, read_meta, write_meta
from ssvh_model.files import atomic_path
from ssvh_model.hdf5 import checked_data_set, damage_reported, native, open_hdf5, read_texts, write_texts

WHAT = "feature file of a film"


@dataclass(frozen=True)
class FilmFacts:
    """What a film's feature file says beside the features.

    Attributes:
        id: of the film.
        sha256: of its file.
        meta: how the features were made.
        frames: M, frames of a segment.
        step: seconds between two frames.
        seconds: of the film.
        firsts: first frame of each segment, [segments] int64, ascending from 0.
    """

    id: str
    sha256: str
    meta: FeatureMeta
    frames: int
    step: float
    seconds: float
    firsts: np.ndarray

    def spans(self) -> np.ndarray:
        """Seconds at which the segments start and end, [segments, 2] float32."""
        starts = self.firsts * self.step
        return np.stack([starts, starts + self.frames * self.step], axis=1).astype(np.float32)


def write_film_features(
    path: Path, facts: FilmFacts, batches: Iterable[np.ndarray], *, key: str = ""
) -> None:
    """Write a film's features as they come, atomically.

    Args:
        path: the file.
        facts: about the film.
        batches: features, [n, D] float16 each.
        key: what the contents follow from (`is_finished`).

    Raises:
        ValueError: the frames are fewer than a segment has.
    """
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        features: h5py.Dataset | None = None
        for batch in batches:
            if features is None:
                size = batch.shape[1]
                features = file.create_dataset(
                    "features", (0, size), maxshape=(None, size), chunks=(64, size), dtype=np.float16
                )
            features.resize(len(features) + len(batch), axis=0)
            features[-len(batch) :] = batch
        if features is None or len(features) < facts.firsts[-1] + facts.frames:
            raise ValueError(
                f"{0 if features is None else len(features)} frames are fewer than the segments need"
            )
        file["firsts"] = facts.firsts
        # Named as in the feature files of whole videos.
        write_texts(file, "ids", [facts.id])
        write_texts(file, "sha256", [facts.sha256])
        file.attrs.update(key=key, step=facts.step, seconds=facts.seconds)
        write_meta(file, facts.meta, frames=facts.frames, sampling="grid")


class FilmFile:
    """Read-only view on a film's feature file.

    Attributes:
        path: where the file is.
        facts: about the film.
        size: D.

    Raises:
        UserError: it is missing, no such file, or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = open_hdf5(path, WHAT)
        except FileNotFoundError:
            raise UserError(f"{path}: no such feature file") from None
        with damage_reported(path, WHAT):
            self._features = checked_data_set(self._file, "features")
            firsts = native(checked_data_set(self._file, "firsts")[:])
            attributes = self._file.attrs
            frames, step = int(attributes["frames"]), float(attributes["step"])
            self.facts = FilmFacts(
                id=read_texts(self._file, "ids")[0],
                sha256=read_texts(self._file, "sha256")[0],
                meta=read_meta(self._file),
                frames=frames,
                step=step,
                seconds=float(attributes["seconds"]),
                firsts=firsts.astype(np.int64),
            )
            fits = (
                self._features.ndim == 2
                and firsts.ndim == 1
                and len(firsts) > 0
                and frames > 0
                and 0 < step < float("inf")
                and 0 < self.facts.seconds < float("inf")
                and firsts[0] == 0
                and bool((np.diff(firsts) > 0).all())
                and firsts[-1] + frames <= len(self._features)
            )
        if not fits:
            raise UserError(
                f"{path}: its segments do not fit its {self._features.shape} features; it is damaged"
            )
        self.size: int = self._features.shape[1]

    def __len__(self) -> int:
        """Number of frames of the grid."""
        return len(self._features)

    def read(self, first: int, count: int) -> np.ndarray:
        """Features of frames in a row, [count, D] float16.

        Raises:
            UserError: the file is damaged there.
        """
        with damage_reported(self.path, WHAT):
            return native(self._features[first : first + count]).astype(np.float16)

    def segments(self, numbers: np.ndarray) -> np.ndarray:
        """Features of segments, [len(numbers), M, D] float16.

        Raises:
            UserError: the file is damaged there.
        """
        firsts = self.facts.firsts[numbers]
        low, high = int(firsts.min()), int(firsts.max()) + self.facts.frames
        frames = self.read(low, high - low)
        return frames[(firsts - low)[:, None] + np.arange(self.facts.frames)]


def is_film_file(path: Path) -> bool:
    """True for a film's feature file, False for another HDF5 file.

    Raises:
        FileNotFoundError: there is none.
        UserError: it is not HDF5, or damaged.
    """
    with damage_reported(path, WHAT), open_hdf5(path, WHAT) as file:
        return "firsts" in file
