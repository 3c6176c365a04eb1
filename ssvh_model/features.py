"""The feature file: frame features of a corpus, with what is known of each video."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath

import h5py
import numpy as np
import torch

from ssvh_model.errors import UserError
from ssvh_model.files import atomic_path, check_regular
from ssvh_model.hdf5 import (
    attribute_text,
    checked_data_set,
    damage_reported,
    native,
    open_hdf5,
    read_texts,
    write_texts,
)
from ssvh_model.manifest import SPLITS, split_labels

# Rows are read so many bytes at a time: beside the result, no more than this is in memory.
BYTES_AT_ONCE = 2**25
MODEL_FILE = "backbone"  # name of a user's model beside features and hashers, before its ending


@dataclass(frozen=True)
class FeatureMeta:
    """How features were made; the attributes of a feature file.

    Attributes:
        backbone: name of the image network, or of the file that the user has it in.
        weights_sha256: hex digest of its weights.
        size: side of the square that a frame is scaled to, pixels.
        engine: what ran the network.
        precision: of its arithmetic.
        architecture: of a file of weights alone: the network that they are for; "" elsewhere.
        mean, std, colours: of a model of the user's: what it wants done to frames
            (`ssvh_model.video.own_models.OwnModel`); empty elsewhere, where the backbone's name tells it.
    """

    backbone: str
    weights_sha256: str
    size: int
    # What there was before files told it.
    engine: str = "torch"
    precision: str = "float32"
    architecture: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    colours: str = ""

    def __post_init__(self) -> None:
        for name in ("mean", "std"):  # JSON and HDF5 have lists
            object.__setattr__(self, name, tuple(map(float, getattr(self, name))))

    @property
    def model_file(self) -> str:
        """What the file of the user's model is called beside what was made with it; "" if a package has the
        backbone.
        """
        return f"{MODEL_FILE}{PurePath(self.backbone).suffix.lower()}" if self.colours else ""

    def __str__(self) -> str:
        if not self.weights_sha256:
            return self.backbone or "an unknown backbone"
        said = f"{self.backbone}, {self.size} pixels, weights {self.weights_sha256[:12]}, {self.engine} in {self.precision}"
        if not self.colours:
            return said
        scaling = f"mean {list(self.mean)}, std {list(self.std)}, {self.colours}"
        return f"{said}, {f'{self.architecture}, ' if self.architecture else ''}{scaling}"


class FeatureFile:
    """Read-only view on a feature file.

    The HDF5 file is opened at the first read and once in each process, because a handle must not cross a fork
    (pytorch#11929).

    Attributes:
        path: where the file is.
        ids, labels, fine_labels, splits, groups: one entry a row; labels are tuples, empty if unlabelled.

    Raises:
        UserError: the file is missing, is not HDF5, lacks a data set, its data sets disagree in length, or
            its features are in other files that are not there any more.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise UserError(f"{path}: no such feature file")
        self._handle: h5py.File | None = None
        self._handle_process = -1
        self._checked = False
        with damage_reported(self.path, "feature file"):
            self._read_table()

    def _read_table(self) -> None:
        path, file = self.path, self._open()
        features = checked_data_set(file, "features", virtual=True)
        if features.ndim != 3 or features.dtype.kind not in "fiu":
            raise UserError(
                f"{path}: 'features' has shape {features.shape} of {features.dtype}; allowed is [videos, frames, size] of numbers"
            )
        if 0 in features.shape[1:]:
            raise UserError(f"{path}: 'features' has shape {list(features.shape)}; no frame may be empty")
        for name in ("ids", "labels", "fine_labels", "splits", "groups"):
            rows = checked_data_set(file, name).shape[:1]
            if rows != features.shape[:1]:
                raise UserError(
                    f"{path}: {name!r} has {rows[0] if rows else 'no'} rows, 'features' has {len(features)}"
                )
        self.shape: tuple[int, int, int] = tuple(file["features"].shape)
        self._check_linked(file["features"])
        self.ids = self._strings("ids")
        self.labels = [split_labels(text) for text in self._strings("labels")]
        self.fine_labels = [split_labels(text) for text in self._strings("fine_labels")]
        self.splits = self._strings("splits")
        self.groups = self._strings("groups")
        unknown = set(self.splits) - set(SPLITS)
        if unknown:
            raise UserError(f"{path}: split {sorted(unknown)[0]!r}; allowed are {', '.join(SPLITS)}")

    def __len__(self) -> int:
        return self.shape[0]

    def _open(self) -> h5py.File:
        if self._handle is None or self._handle_process != os.getpid():
            # Other processes, which get this object, need not look for damage again: the file may be large.
            self._handle = open_hdf5(self.path, "feature file", checked=self._checked)
            self._checked = True
            self._handle_process = os.getpid()
        return self._handle

    def _check_linked(self, data: h5py.Dataset) -> None:
        """HDF5 itself is silent about what a virtual data set points to and does not find."""
        if not data.is_virtual:
            return
        covered = 0
        for link in data.virtual_sources():
            source = self.path.parent / link.file_name
            low, high = link.vspace.get_select_bounds()
            wanted = tuple(last - first + 1 for first, last in zip(low, high, strict=True))
            covered += int(np.prod(wanted, dtype=object))
            try:
                check_regular(source)
                with h5py.File(source, "r") as file:
                    found = checked_data_set(file, link.dset_name).shape
            except (OSError, KeyError, RuntimeError, ValueError) as error:
                reason = "not there" if not source.is_file() else f"not readable ({error})"
                raise UserError(
                    f"{self.path}: its features are in {os.path.normpath(source)}, which is {reason}"
                ) from error
            if found != wanted:
                raise UserError(
                    f"{self.path}: its features are in {os.path.normpath(source)}, which has shape {list(found)} now; "
                    f"it was {list(wanted)}"
                )
        if covered != (claimed := int(np.prod(data.shape, dtype=object))):
            raise UserError(
                f"{self.path}: {data.name} has {claimed} values, and there are {covered} in the files behind it"
            )

    def _strings(self, name: str) -> list[str]:
        return read_texts(self._open(), name)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_handle": None, "_handle_process": -1}

    @cached_property
    def frame_indices(self) -> np.ndarray:
        """Index in the decoded file of each sampled frame, [n, M] int32; 0..M-1 where the file does not
        tell.
        """
        with damage_reported(self.path, "feature file"):
            file = self._open()
            if "frame_indices" in file:
                stored = checked_data_set(file, "frame_indices", virtual=True)
                if stored.shape != self.shape[:2] or stored.dtype.kind not in "iu":
                    raise UserError(
                        f"{self.path}: 'frame_indices' has shape {stored.shape} of {stored.dtype}; "
                        f"allowed is {self.shape[:2]} of whole numbers"
                    )
                self._check_linked(stored)
                return stored[:]
        return np.tile(np.arange(self.shape[1], dtype=np.int32), (len(self), 1))

    @cached_property
    def meta(self) -> FeatureMeta:
        """How the features were made; empty where the file does not tell."""
        with damage_reported(self.path, "feature file"):
            return read_meta(self._open())

    def rows(self, *splits: str) -> np.ndarray:
        """Indices of the rows in any of `splits`, ascending, int64."""
        return np.flatnonzero(np.isin(self.splits, splits))

    def read(self, rows: np.ndarray | Sequence[int]) -> torch.Tensor:
        """Features of `rows` in their order, [len(rows), M, D] float16, whatever the file holds.

        HDF5 wants ascending unique indices; any order and repetition is fine here. Beside the result,
        `BYTES_AT_ONCE` or one row are in memory.

        Raises:
            UserError: the file is damaged there.
        """
        wanted = np.asarray(rows, dtype=np.int64)
        result = np.empty((len(wanted), *self.shape[1:]), dtype=np.float16)
        order = np.argsort(wanted, kind="stable")
        ascending = wanted[order]
        unique = np.unique(ascending)
        data = self._open()["features"]
        step = max(1, BYTES_AT_ONCE // (self.shape[1] * self.shape[2] * data.dtype.itemsize))
        for start in range(0, len(unique), step):
            part = unique[start : start + step]
            first, end = np.searchsorted(ascending, (part[0], part[-1] + 1))
            places = order[first:end]
            with damage_reported(self.path, "feature file"):
                halves = _read_halves(data, part)
            if np.array_equal(places, np.arange(places[0], places[0] + len(part))):
                result[places[0] : places[-1] + 1] = halves
            else:
                result[places] = halves[np.searchsorted(part, ascending[first:end])]
        return torch.from_numpy(result)


def _read_halves(data: h5py.Dataset, rows: np.ndarray) -> np.ndarray:
    """Rows of a data set as float16; `rows` ascend."""
    if len(rows) == rows[-1] - rows[0] + 1:
        block = data[rows[0] : rows[-1] + 1]  # a slice is read far faster than a list of indices
    else:
        block = data[rows]
    # torch is the faster to convert, numpy the faster to put rows in place
    return torch.from_numpy(native(block)).to(torch.float16).numpy()


def write_feature_file(
    path: Path,
    features: np.ndarray,
    *,
    ids: Sequence[str],
    labels: Sequence[Sequence[str]],
    splits: Sequence[str],
    meta: FeatureMeta,
    fine_labels: Sequence[Sequence[str]] | None = None,
    groups: Sequence[str] | None = None,
    frame_indices: np.ndarray | None = None,
    sha256: Sequence[str] | None = None,
) -> None:
    """Write features that are in memory as a feature file, atomically.

    Args:
        features: [n, M, D], stored as float16.
        ids, labels, splits: one entry a row.
        meta: how the features were made.
        fine_labels, groups, frame_indices: optional, one entry (or row of M) a row.
        sha256: of the videos' files, optional.
    """
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file["features"] = np.asarray(features, dtype=np.float16)
        write_table(file, ids=ids, labels=labels, fine_labels=fine_labels, splits=splits, groups=groups)
        if frame_indices is not None:
            file["frame_indices"] = np.asarray(frame_indices, dtype=np.int32)
        if sha256 is not None:
            write_texts(file, "sha256", list(sha256))
        write_meta(file, meta, frames=np.shape(features)[1])


def write_table(
    file: h5py.File,
    *,
    ids: Sequence[str],
    labels: Sequence[Sequence[str]],
    splits: Sequence[str],
    fine_labels: Sequence[Sequence[str]] | None,
    groups: Sequence[str] | None,
) -> None:
    """Add the data sets that describe the rows to an open feature file."""
    text = h5py.string_dtype("utf-8")
    nothing = [""] * len(ids)
    columns = {
        "ids": list(ids),
        "labels": ["|".join(row) for row in labels],
        "fine_labels": ["|".join(row) for row in fine_labels] if fine_labels is not None else nothing,
        "splits": list(splits),
        "groups": list(groups) if groups is not None else nothing,
    }
    for name, values in columns.items():
        file.create_dataset(name, data=np.array(values, dtype=object), dtype=text)


def read_meta(file: h5py.File) -> FeatureMeta:
    """How an open file's features were made; empty where it does not tell."""
    texts = {
        name: attribute_text(file, name)
        for name in ("backbone", "weights_sha256", "engine", "precision", "architecture", "colours")
        if name in file.attrs
    }
    return FeatureMeta(
        **{"backbone": "", "weights_sha256": "", **texts},
        size=int(file.attrs.get("size", 0)),
        mean=tuple(file.attrs.get("mean", ())),
        std=tuple(file.attrs.get("std", ())),
    )


def write_meta(file: h5py.File, meta: FeatureMeta, *, frames: int, sampling: str = "even") -> None:
    """Add the attributes that tell how the features were made."""
    file.attrs.update(
        backbone=meta.backbone,
        weights_sha256=meta.weights_sha256,
        size=meta.size,
        frames=frames,
        sampling=sampling,
    )
    if meta.weights_sha256:
        file.attrs.update(engine=meta.engine, precision=meta.precision)
    if meta.colours:
        file.attrs.update(architecture=meta.architecture, mean=meta.mean, std=meta.std, colours=meta.colours)
