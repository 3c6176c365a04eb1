"""One version of an index, held open: every answer is made from one of these, so that none is mixed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ssvh_model.index.answer import Asked, IndexVersion, Question
from ssvh_model.index.code_map import cluster_codes, map_codes
from ssvh_model.index.duplicates import duplicate_groups
from ssvh_model.index.file_paths import project_of
from ssvh_model.index.filters import Filters, Wanted
from ssvh_model.index.finder import Finder, NoSuchVideo
from ssvh_model.index.hit import Hit, VideoFacts, facts_of
from ssvh_model.index.index import Index, IndexSnapshot
from ssvh_model.index.known import Known
from ssvh_model.index.stored_features import StoredFeatures
from ssvh_model.moments.query import Query
from ssvh_model.pictures.scored_frames import highest_scored_seconds
from ssvh_model.retrieval.hamming import hamming_distances
from tasks.serving.encoding import Encoding, LoadedHasher
from tasks.serving.problems import BAD_REQUEST, NOT_FOUND, Problem
from tasks.serving.together import Together

MOST_MAPPED = 20_000  # points that a page can draw and a person can tell apart
MOST_COMPARED = 200_000  # codes whose duplicates are looked for while somebody waits: some seconds


@dataclass(frozen=True)
class CodeMap:
    """The mapped videos, all or evenly chosen ones.

    Attributes:
        rows: [m], their first ones.
        places: [m, 2] float32, in the plane; a video of several rows is in the middle of these.
        clusters: [m] int64, from 0, the largest first.
    """

    rows: np.ndarray
    places: np.ndarray
    clusters: np.ndarray


class IndexView:
    """Videos, codes and the hasher of one version.

    Args:
        index: that it is a version of.
        snapshot: of it.
        hasher: that made its codes, as the encoder process has it.
        encoding: that process.
        card: the hasher's model card, Markdown; "" if there is none.
    """

    def __init__(
        self, index: Index, snapshot: IndexSnapshot, hasher: LoadedHasher, encoding: Encoding, card: str
    ) -> None:
        self._index, self._encoding = index, encoding
        self.snapshot, self.hasher, self.card = snapshot, hasher, card
        self._finder = Finder(
            snapshot,
            Together(snapshot.nearest),
            self._stored,
            self._centred,
            self._soft_codes,
            in_memory=True,
        )
        self.videos, self.first_rows = self._finder.videos, self._finder.first_rows
        self.row_of = self._finder.row_of
        self.version = IndexVersion.of(snapshot)
        self._groups: dict[int, list[np.ndarray]] = {}
        self._files: dict[str, Known] = {}
        self._lock = threading.Lock()

    def make_ready(self) -> None:
        """Do what only the first question would wait for: imports, and the table of labels."""
        if len(self.videos):
            self.nearest(Query(0.0, self.videos.codes[0]), Wanted(1), Filters(labels=tuple(self.labels)[:1]))

    def row(self, video: str) -> int:
        """The row of a video that starts at 0.

        Raises:
            Problem: the index has no such video.
        """
        with _known_video():
            return self._finder.row(video)

    def facts(self, row: int) -> VideoFacts:
        """What the index knows of a video."""
        return facts_of(self.videos.facts([row])[row])

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
        rows = self._finder.rows_of_video(self._finder.first_row(row))
        return sorted((start, end) for start, end in self.videos.spans[rows].round(3).tolist())

    def nearest(self, query: Query, wanted: Wanted, filters: Filters) -> list[Hit]:
        """The videos nearest to a query, and where in them: see `Finder.nearest`."""
        return self._finder.nearest(query, wanted, filters)

    def answer(self, question: Question, wanted: Wanted, filters: Filters) -> tuple[Asked, list[Hit]]:
        """What was searched for, a video of the index or a code, and what was found.

        Raises:
            Problem: the index has no such video.
            UserError: the code is none of this index's.
            HasherGone: another hasher has taken its place for good.
        """
        with _known_video():
            return self._finder.answer(question, wanted, filters)

    def highest_scored(self, row: int, start: float, end: float, count: int) -> list[float]:
        """Seconds of a video, from one to another, at which the frames are that the hasher's sampler scored
        highest.

        Raises:
            Problem: the hasher was trained without a Grade-Net, or no features of the video are stored.
            HasherGone: another hasher has taken its place for good.
        """
        if not self.hasher.scores_frames:
            raise Problem(NOT_FOUND, "this index's hasher was trained without a network that scores frames")
        timed = self._finder.features_of(row, start, end - 1e-3)
        if timed is None or not self.videos.durations[row]:
            raise Problem(NOT_FOUND, "no frame features of this video are stored")

        def score(features: np.ndarray) -> np.ndarray:
            return self._encoding.frame_scores(self.hasher, features)

        return highest_scored_seconds(timed, self.hasher.frames, count, score)

    def _stored(self) -> StoredFeatures:
        shape = (self.hasher.frames, len(self.hasher.mean))
        kept, project = self._index.kept_features(), project_of(self._index.name)
        return StoredFeatures(kept, self.snapshot, self.hasher.meta, shape, project)

    def _centred(self, features: Tensor) -> Tensor:
        """As `VideoHasher.center`, which is in the encoder process."""
        return (features - torch.from_numpy(self.hasher.mean)) / torch.from_numpy(self.hasher.scale)

    def _soft_codes(self, features: np.ndarray) -> np.ndarray:
        return self._encoding.soft_codes(self.hasher, features)

    def rows(self, filters: Filters) -> np.ndarray | None:
        """All rows of the videos that are as the filters want them: see `Finder.rows`."""
        return self._finder.rows(filters)

    @cached_property
    def labels(self) -> dict[str, int]:
        """How many videos have each label, the most frequent first."""
        starts = self.videos.spans[:, 0]
        counts = Counter(
            {label: int((starts[rows] == 0).sum()) for label, rows in self._finder.rows_of_label.items()}
        )
        return dict(sorted(counts.items(), key=lambda one: (-one[1], one[0])))

    @cached_property
    def longest(self) -> float:
        """Seconds of the longest video."""
        return float(self.videos.durations.max(initial=0.0))

    @cached_property
    def map(self) -> CodeMap:
        """Where the videos are in the plane, and in which clusters."""
        places = map_codes(self.videos.codes, self.version.bits)
        film_rows = self.snapshot.films
        first_rows = np.arange(len(places)) if film_rows is None else film_rows.first_rows
        if film_rows is not None:
            counts = np.bincount(first_rows, minlength=len(places))[:, None]
            sums = np.zeros_like(places)
            np.add.at(sums, first_rows, places)
            places = sums / np.maximum(counts, 1)
        step = max(1, -(-len(self.first_rows) // MOST_MAPPED))
        rows = self.first_rows[::step]
        mapped = np.full(len(places), -1, dtype=np.int64)
        mapped[rows] = np.arange(len(rows))
        clusters = cluster_codes(self.videos.codes, self.version.bits, mapped[first_rows], len(rows))
        return CodeMap(rows, places[rows], clusters)

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
        rows_of = self._finder.rows_of_video
        mine = words[rows_of(row)]
        return [int(hamming_distances(mine, words[rows_of(other)]).min()) for other in rows.tolist()]


@contextmanager
def _known_video() -> Iterator[None]:
    """Make it a problem that the index has no such video."""
    try:
        yield
    except NoSuchVideo as error:
        raise Problem(NOT_FOUND, str(error)) from error
