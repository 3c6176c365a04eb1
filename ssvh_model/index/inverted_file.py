"""Approximate search by faiss's IndexBinaryIVF, over codes that are ordered by cell.

faiss computes the distances and keeps the nearest. What is done here is to hand it the codes, which come from a checked file and not out of a
file of faiss's own: a cell's codes are copied into its inverted list when a query first looks there, so that an index is open at once.
"""

from __future__ import annotations

import threading

import numpy as np

from ssvh_model.faiss_import import load_faiss
from ssvh_model.index.cells import Cells, flat_index


class InvertedFile:
    """An inverted list of codes for each cell, and one of the codes in no cell, which every query looks at.

    Equally near codes come by row, whatever the number of threads: faiss's heaps prefer the smaller of two equally near rows, and
    are shown the rows in ascending order. Threads may share it.

    Args:
        words: [n, words] uint64, contiguous: the codes that are left of the cells', then those in no cell.
        cells: as they were made.
        kept: which of the cells' codes are left, ascending; None for all.
    """

    def __init__(self, words: np.ndarray, cells: Cells, kept: np.ndarray | None) -> None:
        ends = cells.ends if kept is None else np.searchsorted(kept, cells.ends)
        self._words = words
        self._probes = cells.probes
        self._ends = np.append(ends, len(words))
        self._sizes = np.diff(self._ends, prepend=0)
        self._filled = self._sizes == 0
        self._filling = threading.Lock()
        self._centres = flat_index(cells.centres)
        self._lists = load_faiss().IndexBinaryIVF(self._centres, self._centres.d, len(self._ends))
        self._lists.nprobe = self._probes + 1

    def nearest(self, query: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The nearest codes, as far as they are in the cells looked into.

        Args:
            query: [q, words] uint64, contiguous.
            count: how many a query, at least 1.

        Returns:
            Rows [q, up to count] int64, nearest first and equally near ones by row, and their distances, the same shape, int32; -1 where the
            cells of a query hold fewer.
        """
        codes = query.view(np.uint8)
        in_no_cell = np.full((len(query), 1), len(self._ends) - 1)
        lists = np.hstack([np.sort(self._centres.search(codes, self._probes)[1], axis=1), in_no_cell])
        self._fill(lists)
        # More than there are would cost time: faiss orders empty places, too.
        count = max(1, min(count, int(self._sizes[lists].sum(axis=1).max(initial=0))))
        distances, rows = self._lists.search_preassigned(codes, count, lists, None)
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
                self._lists.invlists.add_entries(
                    number, len(rows), faiss.swig_ptr(rows), faiss.swig_ptr(codes)
                )
                self._filled[number] = True
