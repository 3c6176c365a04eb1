"""One version of an index, held open: every answer is made from one of these, so that none is mixed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ssvh_model.errors import UserError
from ssvh_model.index.code_map import map_codes
from ssvh_model.index.duplicates import duplicate_groups
from ssvh_model.index.hex_codes import code_from_hex, code_to_hex
from ssvh_model.index.index import Index, IndexSnapshot
from ssvh_model.index.known import Known
from ssvh_model.index.scan import nearest
from ssvh_model.index.stored_features import StoredFeatures
from ssvh_model.moments.matching import Group, Rows, find_moments
from ssvh_model.moments.query import Query
from ssvh_model.moments.rerank import SHORTLIST, Rerank, find_reranked
from ssvh_model.retrieval.hamming import as_words, hamming_distances
from tasks.serving.encoding import LoadedHasher
from tasks.serving.problems import BAD_REQUEST, NOT_FOUND, Problem
from tasks.serving.together import Together

MOST_MAPPED = 20_000  # points that a page can draw and a person can tell apart
MOST_COMPARED = 200_000  # codes whose duplicates are looked for while somebody waits: some seconds


@dataclass(frozen=True)
class Hasher:
    """Which hasher made the codes.

    Attributes:
        name: for people.
        model, version: in the registry; "" for a hasher out of a folder.
        sha256: digest of its files.
    """

    name: str
    model: str
    version: str
    sha256: str


@dataclass(frozen=True)
class IndexVersion:
    """What an answer was made from.

    Attributes:
        version: of the index; another one after every change.
        videos: how many it has.
        bits: K.
        hasher: that made its codes.
    """

    version: str
    videos: int
    bits: int
    hasher: Hasher


@dataclass(frozen=True)
class VideoFacts:
    """A video as the index knows it.

    Attributes:
        id: unique.
        labels: none, one or several.
        seconds: 0 if unknown.
        path: of its file; "" if unknown.
        code: in hexadecimal digits.
    """

    id: str
    labels: Sequence[str]
    seconds: float
    path: str
    code: str


@dataclass(frozen=True)
class Hit(VideoFacts):
    """A found video, and where in it.

    Attributes:
        distance: bits that differ from the query.
        start, end: of what was found, seconds; 0 and `seconds` for all of the video.
        likeness: of the frames, aligned in time, at most 1; None where only codes were compared.
    """

    distance: int
    start: float
    end: float
    likeness: float | None


@dataclass(frozen=True)
class Wanted:
    """What is wanted of a search.

    Attributes:
        count: hits.
        group: video (the best moment of each video) | none (several of one, too).
        rerank: none (by codes alone) | features (in the order of the stored frame features, aligned in time).
    """

    count: int
    group: Group = "video"
    rerank: Rerank = "none"


@dataclass(frozen=True)
class Filters:
    """What a found video must be.

    Attributes:
        labels: at least one of them; () for any.
        min_seconds, max_seconds: its length.
        max_distance: bits; None for any.
        text: part of its id, whatever the case.
    """

    labels: Sequence[str] = ()
    min_seconds: float | None = None
    max_seconds: float | None = None
    max_distance: int | None = None
    text: str = ""


class IndexView:
    """Videos, codes and the hasher of one version.

    Args:
        index: that it is a version of.
        snapshot: of it.
        hasher: that made its codes, as the encoder process has it.
        card: the hasher's model card, Markdown; "" if there is none.
    """

    def __init__(self, index: Index, snapshot: IndexSnapshot, hasher: LoadedHasher, card: str) -> None:
        self._index = index
        self.snapshot, self.hasher, self.card = snapshot, hasher, card
        self.videos = snapshot.whole()
        self.first_rows = np.flatnonzero(self.videos.spans[:, 0] == 0)
        self.row_of = {self.videos.ids[row]: row for row in self.first_rows.tolist()}
        pointer, made = snapshot.pointer, snapshot.hasher
        self.version = IndexVersion(
            f"{pointer.generation}-{pointer.changes}",
            len(self.first_rows),
            snapshot.bits,
            Hasher(made.name, made.model, made.version, made.sha256),
        )
        self._together = Together(snapshot.nearest)
        self._groups: dict[int, list[np.ndarray]] = {}
        self._files: dict[str, Known] = {}
        self._lock = threading.Lock()

    def make_ready(self) -> None:
        """Do what only the first question would wait for: imports, and the table of labels."""
        if len(self.videos):
            self.nearest(Query(0.0, self.code(0)), Wanted(1), Filters(labels=tuple(self.labels)[:1]))

    def row(self, video: str) -> int:
        """The row of a video that starts at 0.

        Raises:
            Problem: the index has no such video.
        """
        try:
            return self.row_of[video]
        except KeyError:
            raise Problem(NOT_FOUND, f"the index has no video {video!r}") from None

    def row_at(self, video: str, start: float) -> int:
        """The row of a video that starts nearest to a second.

        Raises:
            Problem: the index has no such video.
        """
        rows = self.rows_of_video(self.row(video))
        return int(rows[np.abs(self.videos.spans[rows, 0] - start).argmin()])

    def facts(self, row: int) -> VideoFacts:
        """What the index knows of a video."""
        return VideoFacts(*self._known(row))

    def known(self, ids: Sequence[str]) -> dict[str, Known]:
        """What the index says of videos and their files, those that it has. Each is asked for once, as
        digests may be in many files.

        Raises:
            UserError: the index is damaged.
        """
        if new := [video for video in ids if video in self.row_of and video not in self._files]:
            self._files |= self._index.known(new)
        return {video: self._files[video] for video in ids if video in self._files}

    def spans(self, row: int) -> list[tuple[float, float]]:
        """Seconds at which what has a code of its own in a video starts and ends, by any row of it,
        ascending.
        """
        spans = self.videos.spans[self.rows_of_video(self._first_row(row))].round(3).tolist()
        return sorted((start, end) for start, end in spans)

    def _known(self, row: int) -> tuple[str, list[str], float, str, str]:
        videos = self.videos
        labels = [label for label in videos.labels[row].split("|") if label]
        seconds = round(float(videos.durations[row]), 3)
        return videos.ids[row], labels, seconds, videos.paths[row], code_to_hex(videos.codes[row])

    def code(self, row: int) -> np.ndarray:
        """Packed code of a row, [ceil(K / 8)] uint8."""
        code: np.ndarray = self.videos.codes[row]
        return code

    def parse_code(self, text: str) -> np.ndarray:
        """A code that somebody has sent.

        Raises:
            Problem: it is none of this index's.
        """
        try:
            return code_from_hex(text, self.version.bits)
        except UserError as error:
            raise Problem(BAD_REQUEST, str(error)) from error

    def nearest(
        self, query: Query, wanted: Wanted, filters: Filters, *, without: int | None = None
    ) -> list[Hit]:
        """The videos nearest to a query, and where in them; nearest first, equally near ones by row.

        Args:
            query: that is searched for.
            wanted: how many, and how.
            filters: what they must be.
            without: row of a video that is not wanted.
        """
        count = wanted.count
        if without is not None:
            count += 1 if wanted.group == "video" else len(self.rows_of_video(self._first_row(without)))
        rows = self.searched(filters)
        if wanted.rerank == "features":
            # All of the shortlist: some may be farther than the filters want.
            of_shortlist = max(count, SHORTLIST)
            moments = find_reranked(query, rows, of_shortlist, wanted.group, self._stored.of, self._centred)
        else:
            moments = find_moments(query, rows, count, wanted.group)
        unwanted = -1 if without is None else self._first_row(without)
        most = self.version.bits if filters.max_distance is None else filters.max_distance
        hits = [
            Hit(
                *self._known(one.row),
                round(one.distance),
                round(one.start, 3),
                round(one.end, 3),
                None if one.likeness is None else round(one.likeness, 4),
            )
            for one in moments
            if self._first_row(one.row) != unwanted and one.distance <= most
        ]
        return hits[: wanted.count]

    def query_of(self, row: int) -> Query:
        """A row of the index, to be searched for."""
        start, end = self.videos.spans[row].tolist()
        known = self._stored.of(row, start, end - 1e-3)
        return Query(end - start, self.code(row), None if known is None else known.features)

    @cached_property
    def _stored(self) -> StoredFeatures:
        shape = (self.hasher.frames, len(self.hasher.mean))
        return StoredFeatures(self._index.kept_features(), self.snapshot, self.hasher.meta, shape)

    def _centred(self, features: Tensor) -> Tensor:
        """As `VideoHasher.center`, which is in the encoder process."""
        return (features - torch.from_numpy(self.hasher.mean)) / torch.from_numpy(self.hasher.scale)

    def searched(self, filters: Filters) -> Rows:
        """The rows of videos that are as the filters want them, to be searched."""
        snapshot, kept = self.snapshot, self.rows(filters)
        if kept is None:
            return Rows(self._together, snapshot.words, snapshot.spans, snapshot.films)
        words = np.ascontiguousarray(snapshot.words[kept])

        def search(codes: np.ndarray, wanted: int) -> tuple[np.ndarray, np.ndarray]:
            found, distances = nearest(as_words(codes), words, count=wanted)
            return kept[found], distances

        return Rows(search, snapshot.words, snapshot.spans, snapshot.films)

    def _first_row(self, row: int) -> int:
        films = self.snapshot.films
        return row if films is None else int(films.first_rows[row])

    def rows(self, filters: Filters) -> np.ndarray | None:
        """All rows of the videos that are as the filters want them, ascending; None for all."""
        kept: np.ndarray | None = None
        if filters.labels:
            chosen = [self._rows_of_label[label] for label in filters.labels if label in self._rows_of_label]
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

    @cached_property
    def _rows_of_label(self) -> dict[str, np.ndarray]:
        rows: dict[str, list[int]] = {}
        for row, labels in enumerate(self.videos.labels):
            for label in labels.split("|"):
                if label:
                    rows.setdefault(label, []).append(row)
        return {label: np.array(found, dtype=np.int64) for label, found in rows.items()}

    @cached_property
    def labels(self) -> dict[str, int]:
        """How many videos have each label, the most frequent first."""
        starts = self.videos.spans[:, 0]
        counts = Counter(
            {label: int((starts[rows] == 0).sum()) for label, rows in self._rows_of_label.items()}
        )
        return dict(sorted(counts.items(), key=lambda one: (-one[1], one[0])))

    @cached_property
    def longest(self) -> float:
        """Seconds of the longest video."""
        return float(self.videos.durations.max(initial=0.0))

    @cached_property
    def map(self) -> tuple[np.ndarray, np.ndarray]:
        """First rows of the mapped videos, all or evenly chosen ones, and their places in the plane, [m, 2]
        float32.

        A video of several rows is in the middle of these.
        """
        places = map_codes(self.videos.codes, self.version.bits)
        if (films := self.snapshot.films) is not None:
            counts = np.bincount(films.first_rows, minlength=len(places))[:, None]
            sums = np.zeros_like(places)
            np.add.at(sums, films.first_rows, places)
            places = sums / np.maximum(counts, 1)
        step = max(1, -(-len(self.first_rows) // MOST_MAPPED))
        rows = self.first_rows[::step]
        return rows, places[rows]

    def duplicates(self, radius: int) -> list[np.ndarray]:
        """First rows of each group of near-duplicates, as `duplicate_groups` has them; made once for a
        radius.

        Raises:
            Problem: there are too many videos to wait for that.
        """
        if len(self.videos) > MOST_COMPARED:
            raise Problem(
                BAD_REQUEST,
                f"the index has {len(self.videos)} codes; above {MOST_COMPARED}, only `ssvh duplicates` finds groups",
            )
        with self._lock:
            if radius not in self._groups:
                films = self.snapshot.films
                first_rows = None if films is None else films.first_rows
                self._groups[radius] = duplicate_groups(
                    self.snapshot.words, radius=radius, first_rows=first_rows
                )
            return self._groups[radius]

    def distances(self, row: int, rows: np.ndarray) -> list[int]:
        """Bits by which the nearest rows of videos differ from the nearest one of one of them; by their first
        rows.
        """
        words = self.snapshot.words
        if self.snapshot.films is None:
            found: list[int] = hamming_distances(words[[row]], words[rows])[0].tolist()
            return found
        mine = words[self.rows_of_video(row)]
        return [
            int(hamming_distances(mine, words[self.rows_of_video(other)]).min()) for other in rows.tolist()
        ]

    def rows_of_video(self, first_row: int) -> np.ndarray:
        """All rows of a video, by the one that starts at 0, in the order of time."""
        films = self.snapshot.films
        return np.array([first_row]) if films is None else films.of(first_row)
