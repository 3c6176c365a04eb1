"""How many database videos are at each Hamming distance from a query, and how many of them are relevant to
it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ssvh_model.retrieval.hamming import hamming_distances
from ssvh_model.retrieval.relevance import Relevance
from ssvh_model.retrieval.tie_groups import TieGroups

PAIRS_AT_ONCE = 2**19
"""Query-database pairs at a time: few for the processor's cache, enough to keep threads apart."""
MOST_COUNTS = 2**12
"""Counts in one table: they stay in a core's own cache."""
MOST_RUNS = 64
"""Stretches of relevant videos that are counted one by one; where there are more, these videos are picked."""


class DistanceCounts:
    """Counts the database at each distance from a query, without a table of all pairs.

    Within a tie the order does not matter, so the database is sorted by its sets of labels: the videos that
    are relevant to a query are then a few stretches, in most corpora one.

    Args:
        database: packed codes, [n, words] uint64 (`as_words`).
        relevance: of the database to the queries.
        bits: K, the largest possible distance.
    """

    def __init__(self, database: np.ndarray, relevance: Relevance, *, bits: int) -> None:
        order = relevance.order
        self._words = np.ascontiguousarray(database[order].T)
        self._place = np.empty(len(order), dtype=np.int64)
        self._place[order] = np.arange(len(order))
        self._relevance = relevance
        self._sets = relevance.set_of_video[order]
        self._ends = np.searchsorted(self._sets, np.arange(relevance.sets + 1))
        self._bits = bits

    def groups(self, query: np.ndarray, *, start: int, own: np.ndarray) -> TieGroups:
        """The database grouped by its distance from some queries: group d holds the videos at distance d.

        It may be called by several threads at once.

        Args:
            query: packed codes of the queries `start`, `start + 1`, ... of the relevance, [q, words] uint64.
            start: number of the first of them.
            own: position of each query in the database, left out of its ranking; -1 for none. [q] int64.
        """
        shares = self._relevance.shares(start, start + len(query))
        runs = _runs(shares, self._ends)
        width = self._bits + 1
        items = torch.zeros(len(query), width, dtype=torch.int64)
        relevant = torch.zeros_like(items)
        # Queries are counted together, told apart by a multiple of the width that is added to their
        # distances.
        videos = max(1, self._words.shape[1])
        rows = max(1, 256 // width, min(PAIRS_AT_ONCE // videos, MOST_COUNTS // width))
        kind = np.dtype(np.uint8 if rows * width <= 256 else np.int16)
        size = PAIRS_AT_ONCE // rows
        for first in range(0, self._words.shape[1], size):
            words = self._words[:, None, first : first + size]
            differing = np.empty((rows, words.shape[2]), dtype=np.uint64)
            room = np.empty(differing.shape, dtype=kind)
            for begin in range(0, len(query), rows):
                codes = query[begin : begin + rows, :, None]
                keys = room[: len(codes)]
                _write_keys(words, codes, width, differing[: len(codes)], keys)
                items[begin : begin + rows] += _counted(keys.reshape(-1), keys.shape[0], width)
                picked = [
                    some
                    for row in range(len(codes))
                    for some in self._relevant(keys[row], first, shares[begin + row], runs[begin + row])
                ]
                if picked:
                    together = picked[0] if len(picked) == 1 else np.concatenate(picked)
                    relevant[begin : begin + rows] += _counted(together, len(codes), width)
        return self._without_own(query, shares, items.numpy(), relevant.numpy(), own)

    def _relevant(
        self, keys: np.ndarray, first: int, shares: np.ndarray, runs: list[tuple[int, int]]
    ) -> Iterator[np.ndarray]:
        """The keys of relevant videos among those of the videos from `first` on."""
        size = len(keys)
        if len(runs) > MOST_RUNS:
            yield keys[shares[self._sets[first : first + size]]]
            return
        for begin, end in runs:
            if begin < first + size and end > first:
                yield keys[max(begin - first, 0) : end - first]

    def _without_own(
        self,
        query: np.ndarray,
        shares: np.ndarray,
        items: np.ndarray,
        relevant: np.ndarray,
        own: np.ndarray,
    ) -> TieGroups:
        for row in np.flatnonzero(own >= 0):
            place = self._place[own[row]]
            at = hamming_distances(query[row : row + 1], self._words[:, place][None])[0, 0]
            items[row, at] -= 1
            relevant[row, at] -= shares[row, self._sets[place]]
        return TieGroups(items, relevant, relevant.sum(axis=1))


def _write_keys(
    words: np.ndarray, codes: np.ndarray, width: int, differing: np.ndarray, keys: np.ndarray
) -> None:
    """Write the distance of every code from every video, and `width` times the code's row, into `keys`
    [codes, videos].

    `words` are [words, 1, videos], `codes` [codes, words, 1]; `differing` is room to work in.
    """
    np.bitwise_xor(words[0], codes[:, 0], out=differing)
    np.bitwise_count(differing, out=keys)
    for word in range(1, len(words)):
        np.bitwise_xor(words[word], codes[:, word], out=differing)
        keys += np.bitwise_count(differing)
    if len(codes) > 1:
        keys += (np.arange(len(codes)) * width).astype(keys.dtype)[:, None]


def _counted(keys: np.ndarray, codes: int, width: int) -> Tensor:
    """How often each key stands there, [codes, width] int64."""
    return torch.bincount(torch.from_numpy(keys), minlength=codes * width).view(codes, width)


def _runs(shares: np.ndarray, ends: np.ndarray) -> list[list[tuple[int, int]]]:
    """For each query the stretches [begin, end) of the sorted database whose sets of labels share one with
    it.
    """
    framed = np.zeros((len(shares), shares.shape[1] + 2), dtype=bool)
    framed[:, 1:-1] = shares
    row, edge = np.nonzero(framed[:, 1:] != framed[:, :-1])
    runs: list[list[tuple[int, int]]] = [[] for _ in shares]
    for number, begin, end in zip(
        row[::2].tolist(), ends[edge[::2]].tolist(), ends[edge[1::2]].tolist(), strict=True
    ):
        runs[number].append((begin, end))
    return runs
