"""The codes file: videos, or segments of videos, with their packed codes, and which hasher made these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain
from pathlib import Path
from typing import NamedTuple

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
from ssvh_model.index.hex_codes import code_to_hex

TEXTS = ("ids", "labels", "paths")
NUMBERS = {"durations": (), "spans": (2,)}  # shape of an entry


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


class Facts(NamedTuple):
    """What is known of a row: texts of its video as in `CodedVideos`, the video's length in seconds, and the
    row's code in hexadecimal digits.
    """

    id: str
    label: str
    path: str
    duration: float
    code: str


@dataclass(frozen=True)
class CodedVideos:
    """Videos and their codes: a row for each video, or several for one whose segments have codes of their
    own.

    Of each video exactly one row starts at second 0, so that counting these counts videos; no two rows of a
    video start at the same time.

    Attributes:
        ids: of the videos; rows of one video share it, wherever they stand.
        codes: [n, ceil(bits / 8)] uint8, as `retrieval.codes.pack` makes them.
        labels: several joined by "|"; "" if unknown.
        paths: of the videos; "" if unknown.
        durations: seconds of the videos, [n] float32; 0 if unknown.
        spans: seconds at which what a row is of starts and ends, [n, 2] float32; 0 and the duration for a
            whole video.
        bits: K.
        hasher: that made the codes.
        source: the feature file that they were made from, "" if they were made from videos.
    """

    ids: Sequence[str]
    codes: np.ndarray
    labels: Sequence[str]
    paths: Sequence[str]
    durations: np.ndarray
    spans: np.ndarray
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
        if self.spans.shape != (len(self.ids), 2):
            raise ValueError(f"spans have the shape {self.spans.shape}; wanted is {(len(self.ids), 2)}")

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.ids)

    @property
    def videos(self) -> int:
        """Number of videos."""
        return count_videos(self.spans)

    def facts(self, rows: Sequence[int]) -> dict[int, Facts]:
        """What is known of some rows."""
        return {
            row: Facts(
                self.ids[row],
                self.labels[row],
                self.paths[row],
                float(self.durations[row]),
                code_to_hex(self.codes[row]),
            )
            for row in rows
        }

    def rows(self, rows: np.ndarray | Sequence[int]) -> CodedVideos:
        """Some of the rows, in the order of `rows`."""
        chosen = np.asarray(rows, dtype=np.int64)
        return replace(
            self,
            ids=[self.ids[row] for row in chosen.tolist()],
            codes=self.codes[chosen],
            labels=[self.labels[row] for row in chosen.tolist()],
            paths=[self.paths[row] for row in chosen.tolist()],
            durations=self.durations[chosen],
            spans=self.spans[chosen],
        )

    def followed_by(self, *others: CodedVideos) -> CodedVideos:
        """These videos, then those of the others, whose codes are by the same hasher."""
        parts = (self, *others)
        return replace(
            self,
            ids=list(chain.from_iterable(part.ids for part in parts)),
            codes=np.concatenate([part.codes for part in parts]),
            labels=list(chain.from_iterable(part.labels for part in parts)),
            paths=list(chain.from_iterable(part.paths for part in parts)),
            durations=np.concatenate([part.durations for part in parts]),
            spans=np.concatenate([part.spans for part in parts]),
        )


def whole_spans(durations: np.ndarray) -> np.ndarray:
    """Spans of videos that have one code each.

    Args:
        durations: seconds, [n]; 0 if unknown.

    Returns:
        0 and the duration, [n, 2] float32.
    """
    seconds = np.asarray(durations, dtype=np.float32)
    return np.stack([np.zeros_like(seconds), seconds], axis=1)


def count_videos(spans: np.ndarray) -> int:
    """How many videos rows with these spans [n, 2] are of: of each, one row starts at 0."""
    return int((spans[:, 0] == 0).sum())


def write_coded_videos(path: Path, videos: CodedVideos, **more: np.ndarray | list[str]) -> None:
    """Write a codes file, atomically: data sets `ids`, `codes`, `labels`, `paths`, `durations` and `spans`,
    and attributes.

    Args:
        path: the HDF5 file.
        videos: what it holds.
        more: further data sets, of numbers or texts.
    """
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file["codes"] = videos.codes
        for name in TEXTS:
            write_texts(file, name, list(getattr(videos, name)))
        for name in NUMBERS:
            file[name] = np.asarray(getattr(videos, name), dtype=np.float32)
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

    One that was written before rows had spans has a row for each video, as a whole.

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
        shapes = {**dict.fromkeys(TEXTS, ()), **NUMBERS}
        if "spans" not in self.file:
            del shapes["spans"]
        for name, shape in shapes.items():
            data = checked_data_set(self.file, name)
            if data.shape != (len(codes), *shape):
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

    def facts(self, rows: Sequence[int]) -> dict[int, Facts]:
        """What is known of some rows, in a few reads for all of them.

        Raises:
            UserError: the file is damaged.
        """
        places = np.unique(np.asarray(rows, dtype=np.int64))
        if not len(places):
            return {}
        with damage_reported(self.path, "codes file"):
            texts = [map(as_text, self.file[name][places]) for name in TEXTS]
            durations = self.file["durations"][places].tolist()
            known = list(zip(*texts, durations, map(code_to_hex, self.codes[places]), strict=True))
        return {row: Facts(*one) for row, one in zip(places.tolist(), known, strict=True)}

    def text(self, name: str, row: int) -> str:
        """One entry of `ids`, `labels` or `paths`."""
        with damage_reported(self.path, "codes file"):
            return as_text(self.file[name][row])

    def duration(self, row: int) -> float:
        """Seconds of one video; 0 if unknown."""
        with damage_reported(self.path, "codes file"):
            return float(self.file["durations"][row])

    def span(self, row: int) -> tuple[float, float]:
        """Seconds at which what a row is of starts and ends."""
        if "spans" not in self.file:
            return 0.0, self.duration(row)
        with damage_reported(self.path, "codes file"):
            start, end = self.file["spans"][row].tolist()
            return float(start), float(end)

    def spans(self) -> np.ndarray:
        """All spans, [n, 2] float32.

        Raises:
            UserError: the file is damaged.
        """
        with damage_reported(self.path, "codes file"):
            if "spans" not in self.file:
                return whole_spans(self.file["durations"][:])
            spans: np.ndarray = self.file["spans"][:].astype(np.float32)
        if not (np.isfinite(spans).all() and (spans[:, 0] >= 0).all() and (spans[:, 0] <= spans[:, 1]).all()):
            raise UserError(
                f"{self.path}: a span does not start at or after 0 and before its end; it is damaged"
            )
        return spans

    def whole(self) -> CodedVideos:
        """Everything, in memory.

        Raises:
            UserError: two rows of a video start at the same time, none of its rows starts at 0, or the file
                is damaged.
        """
        with damage_reported(self.path, "codes file"):
            videos = CodedVideos(
                **{name: read_texts(self.file, name) for name in TEXTS},
                codes=self.codes,
                durations=self.file["durations"][:].astype(np.float32),
                spans=self.spans(),
                bits=self.bits,
                hasher=self.hasher,
                source=self.source,
            )
        if len(set(videos.ids)) != videos.videos:
            raise UserError(
                f"{self.path}: has {videos.videos} rows that start at 0 for {len(set(videos.ids))} ids; allowed is one"
            )
        if len(set(zip(videos.ids, videos.spans[:, 0].tolist(), strict=True))) < len(videos):
            raise UserError(f"{self.path}: an id stands there twice with the same start; allowed is once")
        return videos
