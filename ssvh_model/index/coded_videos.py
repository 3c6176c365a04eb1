"""The codes file: videos with their packed codes, and which hasher made these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import h5py
import numpy as np

from ssvh_model.errors import UserError
from ssvh_model.files import atomic_path
from ssvh_model.hdf5 import (
    as_text,
    attribute_text,
    checked_data_set,
    damage_reported,
    open_hdf5,
    read_texts,
    write_texts,
)

TEXTS = ("ids", "labels", "paths")


@dataclass(frozen=True)
class HasherIdentity:
    """Which hasher made codes. Codes of different hashers can't be compared, so that they are never mixed.

    Attributes:
        model, version: in the registry; "" for a hasher out of a folder.
        sha256: of its files (`hasher_file.hasher_digest`); what decides whether two are the same.
    """

    model: str
    version: str
    sha256: str

    @property
    def name(self) -> str:
        """For a person."""
        known = f"{self.model} version {self.version}" if self.model else "an unregistered hasher"
        return f"{known} ({self.sha256[:12]})"


@dataclass(frozen=True)
class CodedVideos:
    """Videos and their codes, one entry or row a video.

    Attributes:
        ids: unique.
        codes: [n, ceil(bits / 8)] uint8, as `retrieval.codes.pack` makes them.
        labels: several joined by "|"; "" if unknown.
        paths: of the videos; "" if unknown.
        durations: seconds, [n] float32; 0 if unknown.
        bits: K.
        hasher: that made the codes.
        source: the feature file that they were made from, "" if they were made from videos.
    """

    ids: Sequence[str]
    codes: np.ndarray
    labels: Sequence[str]
    paths: Sequence[str]
    durations: np.ndarray
    bits: int
    hasher: HasherIdentity
    source: str = ""

    def __post_init__(self) -> None:
        wanted = (len(self.ids), -(-self.bits // 8))
        if self.codes.shape != wanted or self.codes.dtype != np.uint8:
            raise ValueError(f"codes are {self.codes.dtype} {self.codes.shape}; wanted is uint8 {wanted}")
        for name in ("labels", "paths", "durations"):
            if len(getattr(self, name)) != len(self.ids):
                raise ValueError(f"{len(getattr(self, name))} {name} for {len(self.ids)} videos")

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, rows: np.ndarray | Sequence[int]) -> CodedVideos:
        """Some of the videos, in the order of `rows`."""
        chosen = np.asarray(rows, dtype=np.int64)
        return replace(
            self,
            ids=[self.ids[row] for row in chosen.tolist()],
            codes=self.codes[chosen],
            labels=[self.labels[row] for row in chosen.tolist()],
            paths=[self.paths[row] for row in chosen.tolist()],
            durations=self.durations[chosen],
        )

    def followed_by(self, other: CodedVideos) -> CodedVideos:
        """These videos, then those of `other`, whose codes are by the same hasher."""
        return replace(
            self,
            ids=[*self.ids, *other.ids],
            codes=np.concatenate([self.codes, other.codes]),
            labels=[*self.labels, *other.labels],
            paths=[*self.paths, *other.paths],
            durations=np.concatenate([self.durations, other.durations]),
        )


def write_coded_videos(path: Path, videos: CodedVideos, **more: np.ndarray | list[str]) -> None:
    """Write a codes file, atomically: data sets `ids`, `codes`, `labels`, `paths` and `durations`, and attributes.

    Args:
        path: the HDF5 file.
        videos: what it holds.
        more: further data sets, of numbers or texts.
    """
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file["codes"] = videos.codes
        for name in TEXTS:
            write_texts(file, name, list(getattr(videos, name)))
        file["durations"] = np.asarray(videos.durations, dtype=np.float32)
        for name, values in more.items():
            if isinstance(values, list):
                write_texts(file, name, values)
            else:
                file[name] = values
        file.attrs["bits"] = videos.bits
        file.attrs["source"] = videos.source
        for field in fields(HasherIdentity):
            file.attrs[f"hasher_{field.name}"] = getattr(videos.hasher, field.name)


class CodesFile:
    """A codes file, open to read. Texts are read only where they are asked for.

    Attributes:
        path: where it is.
        bits, hasher, source: as in `CodedVideos`.
        codes: [n, ceil(bits / 8)] uint8, in memory.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is no codes file, or its parts do not fit together.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = open_hdf5(path, "codes file")
        with damage_reported(path, "codes file"):
            self._read()

    def _read(self) -> None:
        path = self.path
        codes = checked_data_set(self.file, "codes")
        try:
            self.bits = int(self.file.attrs["bits"])
            self.source = attribute_text(self.file, "source")
            self.hasher = HasherIdentity(
                **{
                    field.name: attribute_text(self.file, f"hasher_{field.name}")
                    for field in fields(HasherIdentity)
                }
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path}: no codes file, its attributes are not complete ({error})") from error
        if (
            codes.ndim != 2
            or codes.dtype != np.uint8
            or self.bits < 1
            or codes.shape[1] != -(-self.bits // 8)
        ):
            raise UserError(
                f"{path}: codes are {codes.dtype} {list(codes.shape)}; allowed for {self.bits} bits is uint8 "
                f"[videos, {max(0, -(-self.bits // 8))}]"
            )
        for name in (*TEXTS, "durations"):
            data = checked_data_set(self.file, name)
            if data.shape != (len(codes),):
                raise UserError(
                    f"{path}: {name!r} has the shape {list(data.shape)}, there are {len(codes)} codes"
                )
        self.codes: np.ndarray = codes[:]

    def __len__(self) -> int:
        return len(self.codes)

    def ids(self) -> list[str]:
        """All ids, in the order of the rows."""
        with damage_reported(self.path, "codes file"):
            return read_texts(self.file, "ids")

    def text(self, name: str, row: int) -> str:
        """One entry of `ids`, `labels` or `paths`."""
        with damage_reported(self.path, "codes file"):
            return as_text(self.file[name][row])

    def duration(self, row: int) -> float:
        """Seconds of one video; 0 if unknown."""
        with damage_reported(self.path, "codes file"):
            return float(self.file["durations"][row])

    def whole(self) -> CodedVideos:
        """Everything, in memory.

        Raises:
            UserError: an id stands there twice, or the file is damaged.
        """
        with damage_reported(self.path, "codes file"):
            videos = CodedVideos(
                **{name: read_texts(self.file, name) for name in TEXTS},
                codes=self.codes,
                durations=self.file["durations"][:].astype(np.float32),
                bits=self.bits,
                hasher=self.hasher,
                source=self.source,
            )
        if len(set(videos.ids)) < len(videos):
            raise UserError(f"{self.path}: an id stands there twice; ids must be unique")
        return videos
