"""Asking an index for the nearest videos.

from ssvh_model.index.searcher import Searcher
searcher = Searcher("index")
print(searcher.nearest("clip.mp4", count=10))
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssvh_model.errors import UserError
from ssvh_model.index.coded_videos import HasherIdentity
from ssvh_model.index.snapshot import HASHER, Pointer, Snapshot, consistently
from ssvh_model.index.video_encoder import VideoEncoder
from ssvh_model.model.hasher_file import hasher_digest, load_saved_hasher


@dataclass(frozen=True)
class Hit:
    """A found video.

    Attributes:
        id: of the video.
        distance: Hamming distance to the query, bits.
        label: several joined by "|"; "" if unknown.
        duration: seconds; 0 if unknown.
        path: of the file; "" if unknown.
    """

    id: str
    distance: int
    label: str
    duration: float
    path: str


class Searcher:
    """An index and the hasher that made its codes. It needs no registry: the index has a copy of the hasher.

    It may live as long as a service: when the index was changed or replaced, the next question is answered by what is there then. Every answer
    is wholly from one state of the index, codes and hasher alike.

    Args:
        folder: of the index.

    Raises:
        UserError: there is no index, it is damaged, or its hasher is not the one that made its codes.
    """

    def __init__(self, folder: str | os.PathLike[str] = "index") -> None:
        self.folder = Path(folder)
        self._open()

    def _open(self) -> None:
        def load(pointer: Pointer) -> tuple[Snapshot, VideoEncoder]:
            snapshot = Snapshot(self.folder, pointer)
            hasher = pointer.folder(self.folder) / HASHER
            if hasher_digest(hasher) != snapshot.hasher.sha256:
                raise UserError(
                    f"{hasher}: not the hasher that made the codes of this index, {snapshot.hasher.name}"
                )
            return snapshot, VideoEncoder(*load_saved_hasher(hasher))

        self._snapshot, encoder = consistently(self.folder, load)
        before = getattr(self, "_encoder", None)
        if before is not None and before.features == encoder.features:
            encoder.share_backbone(before)
        self._encoder = encoder

    def _follow(self) -> None:
        if Pointer.read(self.folder) != self._snapshot.pointer:
            self._open()

    def __len__(self) -> int:
        self._follow()
        return len(self._snapshot)

    @property
    def bits(self) -> int:
        """K."""
        return self._snapshot.bits

    @property
    def hasher(self) -> HasherIdentity:
        """Which hasher made the codes."""
        return self._snapshot.hasher

    def nearest(self, path: str | os.PathLike[str], count: int = 10) -> list[Hit]:
        """The videos nearest to a video file, nearest first.

        Raises:
            UserError: the video can't be read, or the index's videos were not encoded from videos.
        """
        self._follow()
        return self._hits(self._encoder.code(Path(path))[None], count)[0]

    def nearest_to_features(self, features: np.ndarray, count: int = 10) -> list[list[Hit]]:
        """The same for frame features, [q, M, D]; a list for each.

        Raises:
            UserError: the hasher needs another shape.
        """
        self._follow()
        return self._hits(self._encoder.codes_of(features), count)

    def nearest_to_codes(self, codes: np.ndarray, count: int = 10) -> list[list[Hit]]:
        """The same for packed codes of the index's hasher, [q, ceil(K / 8)] uint8; a list for each."""
        self._follow()
        return self._hits(codes, count)

    def _hits(self, codes: np.ndarray, count: int) -> list[list[Hit]]:
        if count < 1:
            raise UserError(f"count is {count}; allowed are whole numbers from 1")
        rows, distances = self._snapshot.nearest(codes, count)
        return [
            [self._hit(row, distance) for row, distance in zip(*both, strict=True) if row >= 0]
            for both in zip(rows.tolist(), distances.tolist(), strict=True)
        ]

    def _hit(self, row: int, distance: int) -> Hit:
        snapshot = self._snapshot
        return Hit(
            id=snapshot.text("ids", row),
            distance=distance,
            label=snapshot.text("labels", row),
            duration=snapshot.duration(row),
            path=snapshot.text("paths", row),
        )
