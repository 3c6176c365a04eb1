"""Video codes as numbers and as packed bits."""

from __future__ import annotations

import numpy as np


def sign_codes(soft: np.ndarray) -> np.ndarray:
    """Signs of soft codes as int8 of the same shape; an exact 0 counts as +1, everywhere in this project.

    Raises:
        ValueError: a soft code is not a number.
    """
    soft = np.asarray(soft)
    if np.isnan(soft).any():
        raise ValueError("soft codes hold a value that is not a number")
    return np.where(soft >= 0, 1, -1).astype(np.int8)


def pack(codes: np.ndarray) -> np.ndarray:
    """Codes in {-1, +1}, [n, K], as bits, [n, ceil(K / 8)] uint8.

    +1 is a set bit. Bit i stands in byte i // 8 at the value 2 ** (i % 8), the order of faiss's binary
    indexes; where K is no multiple of 8, the last byte is filled up with zeros, which add nothing to a
    Hamming distance.

    Raises:
        ValueError: not two-dimensional, no bits, or a value other than -1 and +1.
    """
    codes = np.asarray(codes)
    if codes.ndim != 2 or codes.shape[1] < 1:
        raise ValueError(
            f"codes have the shape {codes.shape}; allowed is [videos, bits] with at least one bit"
        )
    if not np.all((codes == 1) | (codes == -1)):
        raise ValueError("codes hold a value other than -1 and +1")
    return np.packbits(codes > 0, axis=1, bitorder="little")


def unpack(packed: np.ndarray, bits: int) -> np.ndarray:
    """The inverse of `pack`: [n, ceil(bits / 8)] uint8 -> [n, bits] int8 in {-1, +1}.

    Raises:
        ValueError: the number of bytes a row does not fit `bits`.
    """
    packed = np.asarray(packed, dtype=np.uint8)
    if packed.ndim != 2 or packed.shape[1] != -(-bits // 8):
        raise ValueError(
            f"packed codes have the shape {packed.shape}; {bits} bits need [videos, {-(-bits // 8)}]"
        )
    ones = np.unpackbits(packed, axis=1, count=bits, bitorder="little")
    return ones.astype(np.int8) * 2 - 1
