"""Asking an index for the nearest videos.

from ssvh_model.index.searcher import Searcher
searcher = Searcher("index")
print(searcher.nearest("clip.mp4", count=10))
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from ssvh_model.errors import UserError
from ssvh_model.index.coded_videos import HasherIdentity
from ssvh_model.index.grouping import nearest_videos
from ssvh_model.index.snapshot import Pointer, Snapshot, consistently, open_hasher
from ssvh_model.index.video_encoder import VideoEncoder

Group = Literal["video", "none"]


@dataclass(frozen=True)
class Hit:
    """A found video, or segment of one.

    Attributes:
        id: of the video.
        distance: Hamming distance to the query, bits.
        label: several joined by "|"; "" if unknown.
        duration: seconds of the video; 0 if unknown.
        path: of the file; "" if unknown.
        start, end: of what was found in the video, seconds; 0 and its duration for a whole one.
    """

    id: str
    distance: int
    label: str
    duration: float
    path: str
    start: float
    end: float


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
        """How many rows the index has now."""
        return len(self._current().snapshot)

    @property
    def videos(self) -> int:
        """Among how many videos was searched last."""
        return self._state.snapshot.videos

    @property
    def bits(self) -> int:
        """K."""
        return self._state.snapshot.bits

    @property
    def hasher(self) -> HasherIdentity:
        """Which hasher made the codes that were searched last."""
        return self._state.snapshot.hasher

    def nearest(self, path: str | os.PathLike[str], count: int = 10, *, group: Group = "video") -> list[Hit]:
        """What is nearest to a video file, nearest first.

        Args:
            path: of the file.
            count: hits.
            group: video (the best moment of each video) | none (several of one, too).

        Raises:
            UserError: the video can't be read, or the index's videos were not encoded from videos.
        """
        state = self._current()
        return state.hits(state.encoder.code(Path(path))[None], count, group)[0]

    def nearest_to_features(
        self, features: np.ndarray, count: int = 10, *, group: Group = "video"
    ) -> list[list[Hit]]:
        """The same for frame features, [q, M, D]; a list for each.

        Raises:
            UserError: the hasher needs another shape.
        """
        state = self._current()
        return state.hits(state.encoder.codes_of(features), count, group)

    def nearest_to_codes(
        self, codes: np.ndarray, count: int = 10, *, group: Group = "video"
    ) -> list[list[Hit]]:
        """The same for packed codes of the index's hasher, [q, ceil(K / 8)] uint8; a list for each."""
        return self._current().hits(codes, count, group)


class _State(NamedTuple):
    """An index at one moment, and the hasher that belongs to it."""

    snapshot: Snapshot
    encoder: VideoEncoder

    def hits(self, codes: np.ndarray, count: int, group: Group) -> list[list[Hit]]:
        if count < 1:
            raise UserError(f"count is {count}; allowed are whole numbers from 1")
        first_rows = self.snapshot.first_rows
        if group == "video" and first_rows is not None:
            return [self._best_of_videos(codes[[query]], count, first_rows) for query in range(len(codes))]
        rows, distances = self.snapshot.nearest(codes, count)
        return [
            [self._hit(row, distance) for row, distance in zip(*both, strict=True) if row >= 0]
            for both in zip(rows.tolist(), distances.tolist(), strict=True)
        ]

    def _best_of_videos(self, code: np.ndarray, count: int, first_rows: np.ndarray) -> list[Hit]:
        def search(wanted: int) -> tuple[np.ndarray, np.ndarray]:
            rows, distances = self.snapshot.nearest(code, wanted)
            return rows[0], distances[0]

        rows, distances = nearest_videos(search, count, first_rows)
        return [
            self._hit(row, distance) for row, distance in zip(rows.tolist(), distances.tolist(), strict=True)
        ]

    def _hit(self, row: int, distance: int) -> Hit:
        snapshot = self.snapshot
        start, end = snapshot.span(row)
        return Hit(
            id=snapshot.text("ids", row),
            distance=distance,
            label=snapshot.text("labels", row),
            duration=snapshot.duration(row),
            path=snapshot.text("paths", row),
            start=start,
            end=end,
        )
