"""faiss's IndexBinaryIVF over codes in memory: they stand in lists, and a query looks into some of these.

faiss computes the distances and keeps the nearest. What is done here is to hand it the codes, which come from
a checked file and not out of a file of faiss's own: a list's codes are copied when a query first looks there,
so that an index is open at once.
"""

from __future__ import annotations

import threading

import numpy as np

from ssvh_model.faiss_import import load_faiss


class InvertedLists:
    """Lists of codes.

    Equally near codes come by row, whatever the number of threads: faiss's heaps prefer the smaller of two
    equally near rows, and are shown the rows in ascending order. A single query needs no other threads, for
    which it would wait on a busy machine. Threads may share the lists.

    Args:
        words: [n, words] uint64, contiguous, list after list.
        ends: row behind each list's last code, [lists] int64, ascending.
        probes: lists that a query looks into.
    """

    def __init__(self, words: np.ndarray, ends: np.ndarray, probes: int) -> None:
        faiss = load_faiss()
        self._words = words
        self._ends = ends
        self._sizes = np.diff(ends, prepend=0)
        self._filled = self._sizes == 0
        self._filling = threading.Lock()
        bits = 64 * words.shape[1]
        # The first argument would choose the lists, which are given here.
        self._index = faiss.IndexBinaryIVF(faiss.IndexBinaryFlat(bits), bits, len(ends))
        self._index.nprobe = probes

    def nearest(self, query: np.ndarray, lists: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The nearest codes, as far as they are in the lists looked into.

        Args:
            query: [q, words] uint64, contiguous.
            lists: numbers of those that each query looks into, [q, probes] int64, ascending.
            count: how many a query, at least 1.

        Returns:
            Rows [q, up to count] int64, nearest first and equally near ones by row, and their distances, the
            same shape, int32; -1 where the lists of a query hold fewer.
        """
        self._fill(lists)
        # More than there are would cost time: faiss orders empty places, too.
        count = max(1, min(count, int(self._sizes[lists].sum(axis=1).max(initial=0))))
        distances, rows = self._index.search_preassigned(query.view(np.uint8), count, lists, None)
        distances[rows < 0] = -1
        return rows, distances

    def _fill(self, lists: np.ndarray) -> None:
        """Copy codes into those of the lists that have none yet."""
        if self._filled[lists].all():
            return
        faiss = load_faiss()
        with self._filling:
            for number in set(lists[~self._filled[lists]].tolist()):
                rows = np.arange(self._ends[number] - self._sizes[number], self._ends[number])
                codes = self._words[rows[0] : rows[-1] + 1].view(np.uint8)
                self._index.invlists.add_entries(
                    number, len(rows), faiss.swig_ptr(rows), faiss.swig_ptr(codes)
                )
                self._filled[number] = True


def one_list(words: np.ndarray) -> InvertedLists:
    """All codes [n, words] uint64 in one list, number 0, for many queries of few codes."""
    return InvertedLists(words, np.array([len(words)]), 1)
