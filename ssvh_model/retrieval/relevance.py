"""Which database videos are right answers to a query, and which one is the query itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ssvh_model.errors import UserError

Labels = Sequence[Sequence[str]]


class Relevance:
    """Relevance of database videos to queries: they share a label. An unlabelled video is relevant to none.

    The full [q, n] matrix of a large corpus does not fit into memory, hence rows on demand. Videos with the
    same set of labels are treated as one, so the work is with distinct label sets and not with videos.

    Args:
        query_labels: one collection of labels a query.
        database_labels: one collection of labels a database video.

    Attributes:
        sets: distinct sets of labels in the database.
        set_of_video: number of the set of each database video, [n] integers.
    """

    def __init__(self, query_labels: Labels, database_labels: Labels) -> None:
        as_written = [tuple(labels) for labels in database_labels]
        set_of = {labels: tuple(sorted(set(labels))) for labels in set(as_written)}
        sets = sorted(set(set_of.values()))
        number = {labels: index for index, labels in enumerate(sets)}
        number_of = {labels: number[ordered] for labels, ordered in set_of.items()}
        self.sets = len(sets)
        self.set_of_video = np.array([number_of[labels] for labels in as_written], dtype=np.intp)
        self._sets_with: dict[str, list[int]] = {}
        for index, labels in enumerate(sets):
            for label in labels:
                self._sets_with.setdefault(label, []).append(index)
        self._labels_of_query = [tuple(labels) for labels in query_labels]

    def __len__(self) -> int:
        return len(self._labels_of_query)

    @property
    def order(self) -> np.ndarray:
        """Positions of the database videos, those with the same set of labels one after the other, [n]
        int64.
        """
        return np.argsort(self.set_of_video, kind="stable")

    def shares(self, start: int, stop: int) -> np.ndarray:
        """Which sets of labels share one with the queries `start` to `stop`, [stop - start, sets] bool."""
        shares = np.zeros((stop - start, self.sets), dtype=bool)
        for row, labels in zip(shares, self._labels_of_query[start:stop], strict=True):
            for label in labels:
                row[self._sets_with.get(label, [])] = True
        return shares

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Relevance of every database video to the queries `start` to `stop`, [stop - start, n] bool."""
        return np.take(self.shares(start, stop), self.set_of_video, axis=1)


def relevance_matrix(query_labels: Labels, database_labels: Labels) -> np.ndarray:
    """Relevance of every database video to every query at once, [q, n] bool."""
    return Relevance(query_labels, database_labels).rows(0, len(query_labels))


def own_positions(query_ids: Sequence[str], database_ids: Sequence[str]) -> np.ndarray:
    """Where in the database each query itself is, [q] int64; -1 if it is not there.

    Raises:
        UserError: an id stands in the database twice.
    """
    position = {identity: index for index, identity in enumerate(database_ids)}
    if len(position) != len(database_ids):
        twice = next(name for index, name in enumerate(database_ids) if position[name] != index)
        raise UserError(f"database: id {twice!r} stands there twice; ids must be unique")
    return np.array([position.get(identity, -1) for identity in query_ids], dtype=np.int64)
