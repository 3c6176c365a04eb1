"""Searching one version of an index among the videos that are as somebody wants them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np
from torch import Tensor

from ssvh_model.errors import UserError
from ssvh_model.index.answer import Asked, Question
from ssvh_model.index.coded_videos import CodedVideos, Facts
from ssvh_model.index.filters import Filters, Wanted
from ssvh_model.index.hex_codes import code_from_hex
from ssvh_model.index.hit import Hit, hits_of
from ssvh_model.index.index import IndexSnapshot
from ssvh_model.index.scan import nearest
from ssvh_model.index.stored_features import StoredFeatures
from ssvh_model.moments.matching import Rows, Search, find_moments
from ssvh_model.moments.query import Query
from ssvh_model.moments.rerank import SHORTLIST, TimedFeatures, find_reranked
from ssvh_model.moments.soft_order import find_by_soft_code
from ssvh_model.retrieval.hamming import as_words


class NoSuchVideo(UserError):
    """The index has no video of this id."""


class Finder:
    """The rows of a snapshot, to be searched.

    Args:
        snapshot: of the index.
        search: among all rows.
        stored: opens the features that the index keeps, at the first need.
        centred: takes off features what all of them have (`VideoHasher.center`).
        soft_codes: of the features of videos [q, M, D], [q, K] (`VideoEncoder.soft_codes`).
        in_memory: whether what is known of the videos is loaded at once, for many questions; otherwise when
            it is needed.
    """

    def __init__(
        self,
        snapshot: IndexSnapshot,
        search: Search,
        stored: Callable[[], StoredFeatures],
        centred: Callable[[Tensor], Tensor],
        soft_codes: Callable[[np.ndarray], np.ndarray],
        *,
        in_memory: bool = False,
    ) -> None:
        self._snapshot, self._search, self._open_stored = snapshot, search, stored
        self._centred, self._soft_codes = centred, soft_codes
        self._in_memory = in_memory
        if in_memory:
            _ = self.videos

    @cached_property
    def videos(self) -> CodedVideos:
        """All that is known of all rows."""
        return self._snapshot.whole()

    @cached_property
    def first_rows(self) -> np.ndarray:
        """Of each video, the row that starts at 0, ascending, [videos] int64."""
        return np.flatnonzero(self._snapshot.spans[:, 0] == 0)

    @cached_property
    def row_of(self) -> dict[str, int]:
        """The same by id."""
        return {self.videos.ids[row]: row for row in self.first_rows.tolist()}

    @cached_property
    def rows_of_label(self) -> dict[str, np.ndarray]:
        """All rows of the videos of each label."""
        rows: dict[str, list[int]] = {}
        for row, labels in enumerate(self.videos.labels):
            for label in labels.split("|"):
                if label:
                    rows.setdefault(label, []).append(row)
        return {label: np.array(found, dtype=np.int64) for label, found in rows.items()}

    @cached_property
    def _stored(self) -> StoredFeatures:
        return self._open_stored()

    def facts(self, rows: Sequence[int]) -> Mapping[int, Facts]:
        """What is known of some rows."""
        return self.videos.facts(rows) if self._in_memory else self._snapshot.facts(rows)

    def row(self, video: str) -> int:
        """The row of a video that starts at 0.

        Raises:
            NoSuchVideo: the index has none.
        """
        try:
            return self.row_of[video]
        except KeyError:
            raise NoSuchVideo(f"the index has no video {video!r}") from None

    def row_at(self, video: str, start: float) -> int:
        """The row of a video that starts nearest to a second.

        Raises:
            NoSuchVideo: the index has none.
        """
        rows = self.rows_of_video(self.row(video))
        return int(rows[np.abs(self._snapshot.spans[rows, 0] - start).argmin()])

    def first_row(self, row: int) -> int:
        """The row of a video that starts at 0, by any row of it."""
        films = self._snapshot.films
        return row if films is None else int(films.first_rows[row])

    def rows_of_video(self, first_row: int) -> np.ndarray:
        """All rows of a video, by the one that starts at 0, in the order of time."""
        films = self._snapshot.films
        return np.array([first_row]) if films is None else films.of(first_row)

    def answer(self, question: Question, wanted: Wanted, filters: Filters) -> tuple[Asked, list[Hit]]:
        """What was searched for, a video of the index or a code, and what was found.

        Raises:
            NoSuchVideo: the index has none.
            UserError: it is no code of this index, or a file of the index is damaged.
        """
        if question.id is None:
            query = Query(0.0, code_from_hex(question.code or "", self._snapshot.bits))
            return Asked.stored(query, None), self.nearest(query, wanted, filters)
        row = self.row_at(question.id, question.start)
        query = self._query_of(row, wanted)
        return Asked.stored(query, question.id), self.nearest(query, wanted, filters, without=row)

    def _query_of(self, row: int, wanted: Wanted) -> Query:
        start, end = self._snapshot.spans[row].tolist()
        # Only a finer order looks at features.
        known = None if wanted.rerank == "none" else self._stored.of(row, start, end - 1e-3)
        if known is None or (wanted.rerank == "soft" and not known.whole):
            return Query(end - start, self.videos.codes[row])
        return Query(end - start, self.videos.codes[row], known.features)

    def nearest(
        self, query: Query, wanted: Wanted, filters: Filters, *, without: int | None = None
    ) -> list[Hit]:
        """The videos nearest to a query, and where in them; nearest first, equally near ones by row.

        Args:
            query: that is searched for.
            wanted: how many, and how.
            filters: what they must be.
            without: a row of a video that is not wanted.

        Raises:
            UserError: a file of the index is damaged.
        """
        count = wanted.count
        unwanted = -1 if without is None else self.first_row(without)
        if without is not None:
            count += 1 if wanted.group == "video" else len(self.rows_of_video(unwanted))
        rows = self._searched(filters)
        if wanted.rerank == "features":
            # All of the shortlist: some may be farther than the filters want.
            of_shortlist = max(count, SHORTLIST)
            moments = find_reranked(query, rows, of_shortlist, wanted.group, self._stored.of, self._centred)
        elif wanted.rerank == "soft" and (soft := self._soft_code(query)) is not None:
            moments = find_by_soft_code(soft, query, rows, count, wanted.group)
        else:
            moments = find_moments(query, rows, count, wanted.group)
        kept = [
            one
            for one in moments
            if self.first_row(one.row) != unwanted
            and (filters.max_distance is None or one.distance <= filters.max_distance)
        ]
        return hits_of(self, [kept[: wanted.count]])[0]

    def _soft_code(self, query: Query) -> np.ndarray | None:
        """Of a query as a whole, [K]; None where it is searched for by its segments, or no features of it are
        known.
        """
        if query.parts or query.features is None:
            return None
        return self._soft_codes(query.features[None])[0]

    def features_of(self, row: int, start: float, end: float) -> TimedFeatures | None:
        """The stored features of a row's video: see `StoredFeatures.of`."""
        return self._stored.of(row, start, end)

    def _searched(self, filters: Filters) -> Rows:
        snapshot, kept = self._snapshot, self.rows(filters)
        if kept is None:
            return Rows(self._search, snapshot.words, snapshot.spans, snapshot.films)
        words = np.ascontiguousarray(snapshot.words[kept])

        def search(codes: np.ndarray, wanted: int) -> tuple[np.ndarray, np.ndarray]:
            found, distances = nearest(as_words(codes), words, count=wanted)
            return kept[found], distances

        return Rows(search, snapshot.words, snapshot.spans, snapshot.films)

    def rows(self, filters: Filters) -> np.ndarray | None:
        """All rows of the videos that are as the filters want them, ascending; None for all. How far they are
        from what is searched for is of no matter.
        """
        kept: np.ndarray | None = None
        if filters.labels:
            chosen = [self.rows_of_label[label] for label in filters.labels if label in self.rows_of_label]
            kept = np.zeros(len(self.videos), dtype=bool)
            kept[np.concatenate([np.empty(0, dtype=np.int64), *chosen])] = True
        for limit, is_kept in (
            (filters.min_seconds, np.greater_equal),
            (filters.max_seconds, np.less_equal),
        ):
            if limit is not None:
                by_length = is_kept(self.videos.durations, limit)
                kept = by_length if kept is None else kept & by_length
        if filters.text:
            part = filters.text.casefold()
            by_text = np.fromiter((part in video.casefold() for video in self.videos.ids), dtype=bool)
            kept = by_text if kept is None else kept & by_text
        return None if kept is None else np.flatnonzero(kept)
