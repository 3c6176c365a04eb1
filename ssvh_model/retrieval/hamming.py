"""Hamming distances between packed codes."""

from __future__ import annotations

import numpy as np


def as_words(packed: np.ndarray) -> np.ndarray:
    """Packed codes [n, bytes] uint8 as [n, ceil(bytes / 8)] uint64, filled up with zeros."""
    packed = np.asarray(packed, dtype=np.uint8)
    filled = np.zeros((packed.shape[0], -(-packed.shape[1] // 8) * 8), dtype=np.uint8)
    filled[:, : packed.shape[1]] = packed
    return filled.view(np.uint64)


def hamming_distances(query: np.ndarray, database: np.ndarray) -> np.ndarray:
    """Number of differing bits between packed codes, [q, n] uint16.

    Args:
        query: [q, bytes] uint8, or [q, words] uint64 from `as_words`.
        database: [n, bytes] uint8 or [n, words] uint64, as `query`.

    Raises:
        ValueError: the two do not have the same number of bytes.
    """
    if query.dtype != np.uint64:
        query = as_words(query)
    if database.dtype != np.uint64:
        database = as_words(database)
    if query.shape[1] != database.shape[1]:
        raise ValueError(
            f"query codes have {query.shape[1]} words of 64 bits, database codes {database.shape[1]}"
        )
    distances = np.zeros((len(query), len(database)), dtype=np.uint16)
    for word in range(query.shape[1]):
        distances += np.bitwise_count(query[:, word, None] ^ database[None, :, word])
    return distances
