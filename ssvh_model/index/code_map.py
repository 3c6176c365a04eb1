"""Codes in the plane: near codes come to lie near each other."""

from __future__ import annotations

import numpy as np

from ssvh_model.retrieval.codes import unpack

ROWS_AT_ONCE = 65_536


def map_codes(codes: np.ndarray, bits: int) -> np.ndarray:
    """The two directions in which codes differ most, by principal component analysis of their bits.

    The squared Euclidean distance of two codes in {-1, +1} is four times their Hamming distance, so that this
    is also classical multidimensional scaling of the square roots of the Hamming distances.

    Args:
        codes: packed, [n, ceil(bits / 8)] uint8.
        bits: K.

    Returns:
        [n, 2] float32, centred. The same codes give the same places on one machine: of the two signs of a
            direction, the
        one counts whose components have a positive sum.
    """
    mean, products = np.zeros(bits), np.zeros((bits, bits))
    for start in range(0, len(codes), ROWS_AT_ONCE):
        part = unpack(codes[start : start + ROWS_AT_ONCE], bits).astype(np.float32)
        mean += part.sum(axis=0, dtype=np.float64)
        products += part.T @ part
    if not len(codes):
        return np.empty((0, 2), dtype=np.float32)
    mean /= len(codes)
    directions = np.zeros((bits, 2))
    found = np.linalg.eigh(products / len(codes) - np.outer(mean, mean))[1][:, ::-1][:, :2]
    directions[:, : found.shape[1]] = found * np.where(found.sum(axis=0) < 0, -1, 1)
    places = np.empty((len(codes), 2), dtype=np.float32)
    for start in range(0, len(codes), ROWS_AT_ONCE):
        part = unpack(codes[start : start + ROWS_AT_ONCE], bits)
        places[start : start + ROWS_AT_ONCE] = (part - mean) @ directions
    return places
