"""How well a set of codes uses its bits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ssvh_model.retrieval.codes import pack


@dataclass(frozen=True)
class BitStatistics:
    """What a set of codes looks like, whatever the labels.

    Attributes:
        balance: mean of each bit in [-1, +1], [K]; 0 is a bit that splits the videos in halves.
        correlation: of each pair of bits over the videos, [K, K]; 0 where a bit is constant, 1 on the
            diagonal.
        distinct_codes: number of different codes.
        constant_bits: bits that are the same for every video.
        duplicate_bits: pairs (i, j), i < j, of varying bits that are always equal or always opposite.
    """

    balance: np.ndarray
    correlation: np.ndarray
    distinct_codes: int
    constant_bits: list[int]
    duplicate_bits: list[tuple[int, int]]

    def record(self, n_codes: int) -> dict[str, float | int]:
        """The figures in short, for JSON."""
        bits = len(self.balance)
        away = np.abs(self.correlation[~np.eye(bits, dtype=bool)])
        return {
            "codes": n_codes,
            "distinct_codes": self.distinct_codes,
            "constant_bits": len(self.constant_bits),
            "duplicate_bits": len(self.duplicate_bits),
            "mean_absolute_balance": float(np.abs(self.balance).mean()),
            "mean_absolute_correlation": float(away.mean()) if away.size else 0.0,
            "largest_absolute_correlation": float(away.max()) if away.size else 0.0,
        }


def bit_statistics(codes: np.ndarray) -> BitStatistics:
    """Statistics of codes in {-1, +1}, [n, K] int8.

    Raises:
        ValueError: there are no codes, or they are not in {-1, +1}.
    """
    packed = pack(codes)
    if len(packed) == 0:
        raise ValueError("there are no codes to look at")
    values = codes.astype(np.float64)
    balance = values.mean(axis=0)
    constant = np.abs(codes.sum(axis=0, dtype=np.int64)) == len(codes)

    # Of ±1 values: the mean square is 1, so the variance is 1 - mean².
    products = values.T @ values
    spread = np.sqrt(np.maximum(1.0 - balance**2, 0.0))
    divisor = np.where(constant, 1.0, spread)
    correlation = (products / len(codes) - np.outer(balance, balance)) / np.outer(divisor, divisor)
    correlation[constant, :] = 0.0
    correlation[:, constant] = 0.0
    np.fill_diagonal(correlation, 1.0)

    same = np.triu(np.abs(products) == len(codes), k=1) & ~constant[:, None] & ~constant[None, :]
    return BitStatistics(
        balance=balance,
        correlation=np.clip(correlation, -1.0, 1.0),
        distinct_codes=len(np.unique(packed, axis=0)),
        constant_bits=[int(bit) for bit in np.flatnonzero(constant)],
        duplicate_bits=[(int(i), int(j)) for i, j in np.argwhere(same)],
    )
