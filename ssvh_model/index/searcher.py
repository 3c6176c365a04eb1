"""Asking an index for the nearest videos, and for the moments in long ones.

from ssvh_model.index.searcher import Searcher
searcher = Searcher("index")
print(searcher.nearest("clip.mp4", count=10))
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np

from ssvh_model.errors import UserError
from ssvh_model.index.coded_videos import HasherIdentity
from ssvh_model.index.hit import Hit, hits_of
from ssvh_model.index.index import Index, IndexSnapshot, open_index
from ssvh_model.index.snapshot import TRIES, Overtaken, open_hasher
from ssvh_model.index.stored_features import StoredFeatures
from ssvh_model.index.video_encoder import VideoEncoder
from ssvh_model.moments.matching import Group, Moment, Rows, find_moments
from ssvh_model.moments.query import Query, read_query
from ssvh_model.moments.rerank import Rerank, find_reranked

Result = TypeVar("Result")


class Searcher:
    """An index and the hasher that made its codes. It needs no registry: the index has a copy of the hasher.

    It may live as long as a service: when the index was changed or replaced, the next question is answered by
    what is there then. Every answer is wholly from one state of the index, codes and hasher alike.

    Args:
        place: folder of the index, or the address of a database that has it,
            postgresql://user@host:5432/database.
        trust_torchscript: run the image model that made the hasher's features even if it is TorchScript, a
            program.

    Raises:
        UserError: there is no index, it is damaged, or its hasher is not the one that made its codes.
    """

    def __init__(self, place: str | os.PathLike[str] = "index", *, trust_torchscript: bool = False) -> None:
        self._index = open_index(place)
        self._trust_torchscript = trust_torchscript
        self._state = self._open()

    def _open(self) -> _State:
        version = self._index.version()

        def load(snapshot: IndexSnapshot, hasher: Path) -> _State:
            opened = open_hasher(hasher, snapshot.hasher)
            encoder = VideoEncoder(*opened, trust_torchscript=self._trust_torchscript)
            return _State(self._index, version, snapshot, encoder)

        return self._index.load(load)

    def _current(self) -> _State:
        """What is there now. Each question asks once, so that threads that share a searcher don't mix states
        either.
        """
        before = self._state
        if self._index.version() == before.version:
            return before
        state = self._open()
        if state.encoder.features == before.encoder.features:
            state.encoder.share_backbone(before.encoder)
        self._state = state
        return state

    def _asked(self, question: Callable[[_State], Result]) -> Result:
        """Ask the present state; where another has taken its place before it answered, that."""
        for _ in range(TRIES):
            try:
                return question(self._current())
            except Overtaken:
                continue
        raise UserError(f"{self._index.name}: the index changes faster than it can be searched")

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
            rerank: none (by codes alone) | features (what codes have found is ordered by its stored frame
                features, which also tell more exactly where in a film a moment is).

        Raises:
            UserError: the video can't be read, or the index's videos were not encoded from videos.
        """

        def ask(state: _State) -> list[Hit]:
            films = state.snapshot.films
            query = read_query(state.encoder, Path(path), [] if films is None else films.cuttings)
            return state.hits([query], count, group, rerank)[0]

        return self._asked(ask)

    def nearest_to_features(
        self, features: np.ndarray, count: int = 10, *, group: Group = "video", rerank: Rerank = "none"
    ) -> list[list[Hit]]:
        """The same for frame features of whole videos, [q, M, D]; a list for each.

        Raises:
            UserError: the hasher needs another shape.
        """

        def ask(state: _State) -> list[list[Hit]]:
            codes = state.encoder.codes_of(features)
            queries = [Query(0.0, code, own) for code, own in zip(codes, features, strict=True)]
            return state.hits(queries, count, group, rerank)

        return self._asked(ask)

    def nearest_to_codes(
        self, codes: np.ndarray, count: int = 10, *, group: Group = "video"
    ) -> list[list[Hit]]:
        """The same for packed codes of the index's hasher, [q, ceil(K / 8)] uint8; a list for each."""
        queries = [Query(0.0, code) for code in codes]
        return self._asked(lambda state: state.hits(queries, count, group, "none"))


@dataclass(frozen=True)
class _State:
    """An index at one moment, and the hasher that belongs to it."""

    index: Index
    version: object
    snapshot: IndexSnapshot
    encoder: VideoEncoder

    @cached_property
    def stored(self) -> StoredFeatures:
        config = self.encoder.hasher.config
        shape = (config.frames, config.feature_size)
        return StoredFeatures(self.index.kept_features(), self.snapshot, self.encoder.features, shape)

    def hits(self, queries: Sequence[Query], count: int, group: Group, rerank: Rerank) -> list[list[Hit]]:
        if count < 1:
            raise UserError(f"count is {count}; allowed are whole numbers from 1")
        snapshot = self.snapshot
        if not queries:
            return []
        if rerank == "none" and not any(query.parts for query in queries):
            return snapshot.hits(np.stack([query.code for query in queries]), count, group)
        rows = Rows(snapshot.nearest, snapshot.words, snapshot.spans, snapshot.films)
        found: list[list[Moment]] = []
        for query in queries:
            if rerank == "features":
                center = self.encoder.hasher.center
                moments = find_reranked(query, rows, count, group, self.stored.of, center)
            else:
                moments = find_moments(query, rows, count, group)
            found.append(moments)
        return hits_of(snapshot, found)
