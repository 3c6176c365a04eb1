"""Asking an index for the nearest videos, and for the moments in long ones.

from ssvh_model.index.searcher import Searcher
searcher = Searcher("index")
print(searcher.nearest("clip.mp4", count=10))
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ssvh_model.errors import UserError
from ssvh_model.index.coded_videos import HasherIdentity
from ssvh_model.index.snapshot import Pointer, Snapshot, consistently, open_hasher
from ssvh_model.index.stored_features import StoredFeatures
from ssvh_model.index.video_encoder import VideoEncoder
from ssvh_model.moments.matching import Group, Moment, Rows, find_moments
from ssvh_model.moments.query import Query, read_query
from ssvh_model.moments.rerank import Rerank, find_reranked


@dataclass(frozen=True)
class Hit:
    """A found video, and where in it.

    Attributes:
        id: of the video.
        distance: Hamming distance to the query, bits; where several segments of the query were compared, their mean, rounded.
        label: several joined by "|"; "" if unknown.
        duration: seconds of the video; 0 if unknown.
        path: of the file; "" if unknown.
        start, end: of what was found in the video, seconds; 0 and its duration for a whole one.
        likeness: of the frames, aligned in time, at most 1; None where only codes were compared.
    """

    id: str
    distance: int
    label: str
    duration: float
    path: str
    start: float
    end: float
    likeness: float | None = None

    @property
    def whole(self) -> bool:
        """Whether all of the video was found, as far as its duration is known."""
        return self.start == 0 and self.end >= self.duration - 1e-3


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
            encoder = VideoEncoder(*opened, trust_torchscript=self._trust_torchscript)
            return _State(self.folder, snapshot, encoder)

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

    def nearest(
        self,
        path: str | os.PathLike[str],
        count: int = 10,
        *,
        group: Group = "video",
        rerank: Rerank = "none",
    ) -> list[Hit]:
        """The videos nearest to a video file, nearest first, and where in each of them.

        Args:
            path: of the file.
            count: hits.
            group: video (the best moment of each video) | none (several of one, too).
            rerank: none (by codes alone) | features (what codes have found is ordered by its stored frame features, which
                also tell more exactly where in a film a moment is).

        Raises:
            UserError: the video can't be read, or the index's videos were not encoded from videos.
        """
        state = self._current()
        films = state.snapshot.films
        query = read_query(state.encoder, Path(path), [] if films is None else films.lengths)
        return state.hits([query], count, group, rerank)[0]

    def nearest_to_features(
        self, features: np.ndarray, count: int = 10, *, group: Group = "video", rerank: Rerank = "none"
    ) -> list[list[Hit]]:
        """The same for frame features of whole videos, [q, M, D]; a list for each.

        Raises:
            UserError: the hasher needs another shape.
        """
        state = self._current()
        codes = state.encoder.codes_of(features)
        queries = [Query(0.0, code, own) for code, own in zip(codes, features, strict=True)]
        return state.hits(queries, count, group, rerank)

    def nearest_to_codes(
        self, codes: np.ndarray, count: int = 10, *, group: Group = "video"
    ) -> list[list[Hit]]:
        """The same for packed codes of the index's hasher, [q, ceil(K / 8)] uint8; a list for each."""
        return self._current().hits([Query(0.0, code) for code in codes], count, group, "none")


@dataclass(frozen=True)
class _State:
    """An index at one moment, and the hasher that belongs to it."""

    folder: Path
    snapshot: Snapshot
    encoder: VideoEncoder

    @cached_property
    def stored(self) -> StoredFeatures:
        config = self.encoder.hasher.config
        shape = (config.frames, config.feature_size)
        return StoredFeatures(self.folder, self.snapshot, self.encoder.features, shape)

    def hits(self, queries: Sequence[Query], count: int, group: Group, rerank: Rerank) -> list[list[Hit]]:
        if count < 1:
            raise UserError(f"count is {count}; allowed are whole numbers from 1")
        snapshot = self.snapshot
        if not queries:
            return []
        if snapshot.films is None and rerank == "none":
            # All codes in one go through the index, which is faster.
            found_rows, distances = snapshot.nearest(np.stack([query.code for query in queries]), count)
            return [
                [
                    self._hit(Moment(row, distance, *snapshot.span(row)))
                    for row, distance in zip(*both, strict=True)
                    if row >= 0
                ]
                for both in zip(found_rows.tolist(), distances.tolist(), strict=True)
            ]
        rows = Rows(snapshot.nearest, snapshot.words, snapshot.spans, snapshot.films)
        found = []
        for query in queries:
            if rerank == "features":
                center = self.encoder.hasher.center
                moments = find_reranked(query, rows, count, group, self.stored.of, center)
            else:
                moments = find_moments(query, rows, count, group)
            found.append([self._hit(moment) for moment in moments])
        return found

    def _hit(self, moment: Moment) -> Hit:
        snapshot, row = self.snapshot, moment.row
        return Hit(
            id=snapshot.text("ids", row),
            distance=round(moment.distance),
            label=snapshot.text("labels", row),
            duration=snapshot.duration(row),
            path=snapshot.text("paths", row),
            start=moment.start,
            end=moment.end,
            likeness=moment.likeness,
        )
