"""Feature files of films: the features of one film's frames on its grid, and where its segments are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from ssvh_model.errors import UserError
from ssvh_model.features import FeatureMeta, read_meta, write_meta
from ssvh_model.files import atomic_path
from ssvh_model.hdf5 import checked_data_set, damage_reported, native, open_hdf5, read_texts, write_texts

WHAT = "feature file of a film"
SPANS, FIRSTS = "spans", "firsts"  # data sets: seconds; frames of the grid, in older files


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
        spans: seconds at which the segments start and end, [segments, 2] float64, ascending from 0.
    """

    id: str
    sha256: str
    meta: FeatureMeta
    frames: int
    step: float
    seconds: float
    spans: np.ndarray


def grid_frames(spans: np.ndarray, step: float, frames: int) -> np.ndarray:
    """The frames of a grid that segments look at, even in their time; where there are fewer, some come
    several times.

    Args:
        spans: seconds at which the segments start and end, [segments, 2].
        step: seconds between two frames of the grid.
        frames: M, of each segment.

    Returns:
        [segments, M] int64. The last one may lie just behind the grid, which ends with the last whole step of
        a video.
    """
    starts, ends = spans[:, :1], spans[:, 1:]
    times = starts + (np.arange(frames) + 0.5) / frames * (ends - starts)
    return np.floor(times / step + 1e-6).astype(np.int64)


def write_film_features(
    path: Path, batches: Iterable[np.ndarray], facts: Callable[[], FilmFacts], *, key: str = ""
) -> None:
    """Write a film's features as they come, atomically.

    Args:
        path: the file.
        batches: features, [n, D] float16 each.
        facts: gives what is said about the film; asked when the batches have ended.
        key: what the contents follow from (`is_finished`).

    Raises:
        ValueError: the frames are fewer than the segments need.
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
        about = facts()
        if features is None or not _fits(about, len(features)):
            raise ValueError(
                f"{0 if features is None else len(features)} frames are fewer than the segments need"
            )
        file[SPANS] = about.spans
        # Named as in the feature files of whole videos.
        write_texts(file, "ids", [about.id])
        write_texts(file, "sha256", [about.sha256])
        file.attrs.update(key=key, step=about.step, seconds=about.seconds)
        write_meta(file, about.meta, frames=about.frames, sampling="grid")


def _fits(facts: FilmFacts, count: int) -> bool:
    """Whether the segments lie in a film of `count` frames on its grid, and what is left of it after the last
    whole step.
    """
    return bool(facts.spans[-1, 1] / facts.step <= count + 1)


class FilmFile:
    """Read-only view on a film's feature file.

    One that was written before segments could be of several lengths says where they begin on the grid.

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
            name = SPANS if SPANS in self._file else FIRSTS
            stored = native(checked_data_set(self._file, name)[:]).astype(np.float64)
            attributes = self._file.attrs
            frames, step = int(attributes["frames"]), float(attributes["step"])
            if name == FIRSTS and stored.ndim == 1:
                stored = np.stack([stored * step, (stored + frames) * step], axis=1)
            self.facts = FilmFacts(
                id=read_texts(self._file, "ids")[0],
                sha256=read_texts(self._file, "sha256")[0],
                meta=read_meta(self._file),
                frames=frames,
                step=step,
                seconds=float(attributes["seconds"]),
                spans=stored,
            )
            fits = (
                self._features.ndim == 2
                and len(self._features) > 0
                and stored.ndim == 2
                and stored.shape[1:] == (2,)
                and len(stored) > 0
                and frames > 0
                and 0 < step < float("inf")
                and 0 < self.facts.seconds < float("inf")
                and stored[0, 0] == 0
                and bool((np.diff(stored, axis=0) > 0).all())
                and bool((stored[:, 0] < stored[:, 1]).all())
                and _fits(self.facts, len(self._features))
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
        facts = self.facts
        wanted = np.minimum(grid_frames(facts.spans[numbers], facts.step, facts.frames), len(self) - 1)
        low = int(wanted.min())
        return self.read(low, int(wanted.max()) + 1 - low)[wanted - low]


def is_film_file(path: Path) -> bool:
    """True for a film's feature file, False for another HDF5 file.

    Raises:
        FileNotFoundError: there is none.
        UserError: it is not HDF5, or damaged.
    """
    with damage_reported(path, WHAT), open_hdf5(path, WHAT) as file:
        return SPANS in file or FIRSTS in file
