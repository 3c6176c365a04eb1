"""Asking an index for the nearest videos, and for the moments in long ones.

from ssvh_model.index.answer import Question
from ssvh_model.index.filters import Filters
from ssvh_model.index.searcher import Searcher
searcher = Searcher("index")
print(searcher.nearest("clip.mp4", count=10))
print(searcher.ask(Question(id="cats/7"), filters=Filters(labels=["cats"])))
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np

from ssvh_model.errors import UserError
from ssvh_model.index.answer import Answer, Asked, IndexVersion, Question
from ssvh_model.index.coded_videos import HasherIdentity
from ssvh_model.index.file_paths import project_of
from ssvh_model.index.filters import ANY, TEN, Filters, Wanted
from ssvh_model.index.finder import Finder
from ssvh_model.index.hex_codes import code_from_hex
from ssvh_model.index.hit import Hit
from ssvh_model.index.index import Index, IndexSnapshot, open_index
from ssvh_model.index.snapshot import TRIES, Overtaken, open_hasher
from ssvh_model.index.stored_features import StoredFeatures
from ssvh_model.index.video_encoder import VideoEncoder
from ssvh_model.moments.matching import Group
from ssvh_model.moments.query import Query, read_query
from ssvh_model.moments.rerank import Rerank

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

    def ask(self, question: Question, wanted: Wanted = TEN, filters: Filters = ANY) -> Answer:
        """Search, and say of what and of which version of the index the answer is.

        Args:
            question: a video file, a video of the index, or a code.
            wanted: how many, and how.
            filters: what they must be.

        Raises:
            UserError: the video can't be read, the index has no such video, it is no code of the index, or
                the index's videos were not encoded from videos.
        """
        began = time.perf_counter()

        def ask(state: _State) -> Answer:
            asked, hits = state.answer(question, wanted, filters)
            return Answer(IndexVersion.of(state.snapshot), asked, hits, round(time.perf_counter() - began, 6))

        return self._asked(ask)

    def nearest(
        self,
        path: str | os.PathLike[str],
        count: int = 10,
        *,
        group: Group = "video",
        rerank: Rerank = "none",
        filters: Filters = ANY,
    ) -> list[Hit]:
        """The videos nearest to a video file, nearest first, and where in each of them.

        Args:
            path: of the file.
            count, group, rerank: as `Wanted` has them.
            filters: what they must be.

        Raises:
            UserError: as `ask`.
        """
        return self.ask(Question(video=Path(path)), Wanted(count, group, rerank), filters).hits

    def nearest_to_features(
        self,
        features: np.ndarray,
        count: int = 10,
        *,
        group: Group = "video",
        rerank: Rerank = "none",
        filters: Filters = ANY,
    ) -> list[list[Hit]]:
        """The same for frame features of whole videos, [q, M, D]; a list for each.

        Raises:
            UserError: the hasher needs another shape.
        """
        wanted = Wanted(count, group, rerank)

        def ask(state: _State) -> list[list[Hit]]:
            codes = state.encoder.codes_of(features)
            queries = [Query(0.0, code, own) for code, own in zip(codes, features, strict=True)]
            return state.hits(queries, wanted, filters)

        return self._asked(ask)

    def nearest_to_codes(
        self, codes: np.ndarray, count: int = 10, *, group: Group = "video", filters: Filters = ANY
    ) -> list[list[Hit]]:
        """The same for packed codes of the index's hasher, [q, ceil(K / 8)] uint8; a list for each."""
        wanted, queries = Wanted(count, group), [Query(0.0, code) for code in codes]
        return self._asked(lambda state: state.hits(queries, wanted, filters))


@dataclass(frozen=True)
class _State:
    """An index at one moment, and the hasher that belongs to it."""

    index: Index
    version: object
    snapshot: IndexSnapshot
    encoder: VideoEncoder

    @cached_property
    def finder(self) -> Finder:
        def stored() -> StoredFeatures:
            config = self.encoder.hasher.config
            shape = (config.frames, config.feature_size)
            project = project_of(self.index.name)
            return StoredFeatures(
                self.index.kept_features(), self.snapshot, self.encoder.features, shape, project
            )

        return Finder(
            self.snapshot,
            self.snapshot.nearest,
            stored,
            self.encoder.hasher.center,
            self.encoder.soft_codes,
        )

    def answer(self, question: Question, wanted: Wanted, filters: Filters) -> tuple[Asked, list[Hit]]:
        """What was searched for, and what was found."""
        if question.id is not None:
            return self.finder.answer(question, wanted, filters)
        if question.video is not None:
            films = self.snapshot.films
            query = read_query(self.encoder, question.video, [] if films is None else films.cuttings)
            asked = Asked.clip(query)
        else:
            query = Query(0.0, code_from_hex(question.code or "", self.snapshot.bits))
            asked = Asked.stored(query, None)
        return asked, self.hits([query], wanted, filters)[0]

    def hits(self, queries: Sequence[Query], wanted: Wanted, filters: Filters) -> list[list[Hit]]:
        if not queries:
            return []
        if wanted.rerank != "none" or filters.of_videos or any(query.parts for query in queries):
            return [self.finder.nearest(query, wanted, filters) for query in queries]
        # All in one go, without what is known of other videos than those that are found.
        found = self.snapshot.hits(np.stack([query.code for query in queries]), wanted.count, wanted.group)
        most = self.snapshot.bits if filters.max_distance is None else filters.max_distance
        return [[hit for hit in hits if hit.distance <= most] for hits in found]
