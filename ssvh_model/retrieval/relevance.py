"""Which database videos are right answers to a query, and which one is the query itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ssvh_model.errors import UserError

Labels = Sequence[Sequence[str]]


class Relevance:
    """Relevance of database videos to queries: they share a label. An unlabelled video is relevant to none.

    The full [q, n] matrix of a large corpus does not fit into memory, hence rows on demand. Videos with the same set of labels are
    treated as one, so the work is with distinct label sets and not with videos.

    Args:
        query_labels: one collection of labels a query.
        database_labels: one collection of labels a database video.
    """

    def __init__(self, query_labels: Labels, database_labels: Labels) -> None:
        names = sorted({label for labels in database_labels for label in labels})
        column = {name: index for index, name in enumerate(names)}
        sets = sorted({tuple(sorted(set(labels))) for labels in database_labels})
        number = {labels: index for index, labels in enumerate(sets)}
        self._set_of_video = np.array(
            [number[tuple(sorted(set(labels)))] for labels in database_labels], dtype=np.intp
        )
        self._labels_of_set = _indicators(sets, column)
        self._labels_of_query = [tuple(labels) for labels in query_labels]
        self._column = column

    def __len__(self) -> int:
        return len(self._labels_of_query)

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Relevance of every database video to the queries `start` to `stop`, [stop - start, n] bool."""
        wanted = _indicators(self._labels_of_query[start:stop], self._column)
        shares = (wanted @ self._labels_of_set.T) > 0
        return np.take(shares, self._set_of_video, axis=1)


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


def _indicators(sets: Sequence[Sequence[str]], column: dict[str, int]) -> np.ndarray:
    """[sets, labels] float32, 1 where a set has the label; labels without a column are left out."""
    table = np.zeros((len(sets), len(column)), dtype=np.float32)
    for row, labels in enumerate(sets):
        for label in labels:
            if label in column:
                table[row, column[label]] = 1.0
    return table
