"""Exact search: every query against every code.

Few codes are searched by faiss's `knn_hamming`. Of many, the distances of a batch of queries to a block of
codes are computed by faiss's vectorised `hammings` into a buffer that stays in the processor's cache, and
only those that can still be among the nearest are looked at: with AVX-512 that is two to three times as fast
for batches of queries, without it as fast (benchmarks/search.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import numpy as np

from ssvh_model.faiss_import import load_faiss

FEW_CODES = 2**17  # up to which the work in Python for each block would take longer than the distances
QUERIES_AT_ONCE = 64
CELLS = (
    2**19
)  # distances in the buffer: small enough for the processor's cache, large enough that Python costs little
FIRST_BLOCK = 1024  # codes; the blocks grow while the bound on the distances falls


def nearest(query: np.ndarray, database: np.ndarray, *, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The nearest codes of each query; equally near ones in the order of the database.

    Args:
        query, database: [q, words] and [n, words] uint64 (`retrieval.hamming.as_words`), contiguous.
        count: how many a query, at least 1.

    Returns:
        Rows of the database, [q, min(count, n)] int64, nearest first, and their distances, the same shape,
        int32.
    """
    count = min(count, len(database))
    rows = np.empty((len(query), count), dtype=np.int64)
    distances = np.empty((len(query), count), dtype=np.int32)
    if count and len(database) <= FEW_CODES:
        with _in_this_thread() as faiss:
            # Its heaps prefer the first of equally near codes.
            distances, rows = faiss.knn_hamming(query.view(np.uint8), database.view(np.uint8), count)
    elif count:
        for start in range(0, len(query), QUERIES_AT_ONCE):
            part = slice(start, start + QUERIES_AT_ONCE)
            rows[part], distances[part] = _nearest_of_batch(query[part], database, count)
    return rows, distances


@contextmanager
def _in_this_thread() -> Iterator[ModuleType]:
    """faiss without other threads, which it would share even one query with: on a busy machine, waiting for
    them takes longer.
    """
    faiss = load_faiss()
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)  # of work that this thread begins
    try:
        yield faiss
    finally:
        faiss.omp_set_num_threads(before)


def _nearest_of_batch(query: np.ndarray, database: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    levels = 64 * database.shape[1] + 1  # distances 0 .. bits
    bound = np.full((len(query), 1), levels, dtype=np.int32)  # what is not below it is not looked at
    at_distance = np.zeros(len(query) * levels, dtype=np.int64)
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    counted, next_count = 0, 0
    for start, distances, mask in _blocks(query, database):
        which, column = _true_places(np.less(distances, bound, out=mask))
        found.append((which, distances[which, column], start + column))
        if start < next_count:
            continue
        for which, distance, _ in found[counted:]:
            at_distance += np.bincount(which * levels + distance, minlength=len(at_distance))
        counted = len(found)
        next_count = start + start // 8  # the bound falls ever more slowly
        enough = at_distance.reshape(-1, levels).cumsum(axis=1) >= count
        # Later codes at just the distance where there are enough lose against the earlier ones.
        bound[:, 0] = np.where(enough[:, -1], enough.argmax(axis=1), levels)
    which, distance, row = (np.concatenate(parts) for parts in zip(*found, strict=True))
    kept = distance <= bound[which, 0]
    which, distance, row = which[kept], distance[kept], row[kept]
    order = np.lexsort((row, distance, which))
    first = np.searchsorted(which[order], np.arange(len(query)))
    chosen = order[first[:, None] + np.arange(count)]
    return row[chosen], distance[chosen]


def within(
    query: np.ndarray, database: np.ndarray, *, radius: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """All codes at most `radius` bits from a query, block by block.

    Args:
        query, database: [q, words] and [n, words] uint64, contiguous.
        radius: in bits.

    Yields:
        Positions of queries, rows of the database, and distances, [m] each, in no order that is promised.
    """
    for start in range(0, len(query), QUERIES_AT_ONCE):
        for first, distances, mask in _blocks(query[start : start + QUERIES_AT_ONCE], database):
            which, column = _true_places(np.less_equal(distances, radius, out=mask))
            if len(which):
                yield start + which, first + column, distances[which, column]


def _blocks(query: np.ndarray, database: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Blocks of the database: the first row, the distances of all queries to its codes, [q, block] int32, and
    room for a mask of that shape. Both are written over for the next block.
    """
    faiss = load_faiss()
    query = np.ascontiguousarray(query)
    largest = max(FIRST_BLOCK, CELLS // len(query))
    distances = np.empty(len(query) * largest, dtype=np.int32)
    mask = np.empty(len(query) * largest, dtype=bool)
    start, size = 0, FIRST_BLOCK
    while start < len(database):
        block = database[start : start + size]
        cells = len(query) * len(block)
        faiss.hammings(
            faiss.swig_ptr(query.view(np.uint8)),
            faiss.swig_ptr(block.view(np.uint8)),
            len(query),
            len(block),
            8 * database.shape[1],
            faiss.swig_ptr(distances),
        )
        yield start, distances[:cells].reshape(len(query), -1), mask[:cells].reshape(len(query), -1)
        start += len(block)
        size = min(2 * size, largest)


def _true_places(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`np.nonzero` of a mask [q, n] in which little is true: eight cells are looked at together."""
    flat = mask.ravel()
    whole = len(flat) // 8 * 8
    eights = np.flatnonzero(flat[:whole].view(np.uint64) != 0)
    inner, places = np.nonzero(flat[:whole].reshape(-1, 8)[eights])
    place = np.concatenate([eights[inner] * 8 + places, whole + np.flatnonzero(flat[whole:])])
    return np.divmod(place, mask.shape[1])
