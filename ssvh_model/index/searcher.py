"""Asking an index for the nearest videos.

from ssvh_model.index.searcher import Searcher
searcher = Searcher("index")
print(searcher.nearest("clip.mp4", count=10))
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssvh_model.errors import UserError
from ssvh_model.index.coded_videos import HasherIdentity
from ssvh_model.index.snapshot import Pointer, Snapshot, consistently, open_hasher
from ssvh_model.index.video_encoder import VideoEncoder


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
        trust_torchscript: run the image model that made the hasher's features even if it is TorchScript, a program.

    Raises:
        UserError: there is no index, it is damaged, or its hasher is not the one that made its codes.
    """

    def __init__(self, folder: str | os.PathLike[str] = "index", *, trust_torchscript: bool = False) -> None:
        self.folder = Path(folder)
        self._trust_torchscript = trust_torchscript
        self._state = self._open()

    def _open(self) -> _State:
        def load(pointer: Pointer) -> _State:
            snapshot = Snapshot(self.folder, pointer)
            opened = open_hasher(self.folder, snapshot)
            return _State(snapshot, VideoEncoder(*opened, trust_torchscript=self._trust_torchscript))

        return consistently(self.folder, load)

    def _current(self) -> _State:
        """What is there now. Each question asks once, so that threads that share a searcher don't mix states either."""
        before = self._state
        if Pointer.read(self.folder) == before.snapshot.pointer:
            return before
        state = self._open()
        if state.encoder.features == before.encoder.features:
            state.encoder.share_backbone(before.encoder)
        self._state = state
        return state

    def __len__(self) -> int:
        return len(self._current().snapshot)

    @property
    def videos(self) -> int:
        """Among how many videos was searched last; `len` tells how many there are now."""
        return len(self._state.snapshot)

    @property
    def bits(self) -> int:
        """K."""
        return self._state.snapshot.bits

    @property
    def hasher(self) -> HasherIdentity:
        """Which hasher made the codes that were searched last."""
        return self._state.snapshot.hasher

    def nearest(self, path: str | os.PathLike[str], count: int = 10) -> list[Hit]:
        """The videos nearest to a video file, nearest first.

        Raises:
            UserError: the video can't be read, or the index's videos were not encoded from videos.
        """
        state = self._current()
        return state.hits(state.encoder.code(Path(path))[None], count)[0]

    def nearest_to_features(self, features: np.ndarray, count: int = 10) -> list[list[Hit]]:
        """The same for frame features, [q, M, D]; a list for each.

        Raises:
            UserError: the hasher needs another shape.
        """
        state = self._current()
        return state.hits(state.encoder.codes_of(features), count)

    def nearest_to_codes(self, codes: np.ndarray, count: int = 10) -> list[list[Hit]]:
        """The same for packed codes of the index's hasher, [q, ceil(K / 8)] uint8; a list for each."""
        return self._current().hits(codes, count)


class _State(NamedTuple):
    """An index at one moment, and the hasher that belongs to it."""

    snapshot: Snapshot
    encoder: VideoEncoder

    def hits(self, codes: np.ndarray, count: int) -> list[list[Hit]]:
        if count < 1:
            raise UserError(f"count is {count}; allowed are whole numbers from 1")
        rows, distances = self.snapshot.nearest(codes, count)
        return [
            [self._hit(row, distance) for row, distance in zip(*both, strict=True) if row >= 0]
            for both in zip(rows.tolist(), distances.tolist(), strict=True)
        ]

    def _hit(self, row: int, distance: int) -> Hit:
        snapshot = self.snapshot
        return Hit(
            id=snapshot.text("ids", row),
            distance=distance,
            label=snapshot.text("labels", row),
            duration=snapshot.duration(row),
            path=snapshot.text("paths", row),
        )
