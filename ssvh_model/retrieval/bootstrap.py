"""Is one retriever better than another, or was it the choice of queries? Paired bootstrap of the difference
in GMAP.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from ssvh_model.retrieval.gmap import MAP_KS

INDICES_AT_ONCE = 2**22
"""Drawn queries in memory at a time."""


@dataclass(frozen=True)
class PairedDifference:
    """GMAP of one retriever less that of another, on the same queries, with percentile intervals.

    Attributes:
        gmap, other_gmap: of the two, mean over seeds.
        difference, low, high: the difference in GMAP and the ends of its interval.
        relative, relative_low, relative_high: the same as a share of the other's GMAP; None where that is 0.
        above_zero: share of the resamples in which the difference is above 0.
        confidence: of the intervals, such as 0.95.
    """

    gmap: float
    other_gmap: float
    difference: float
    low: float
    high: float
    relative: float | None
    relative_low: float | None
    relative_high: float | None
    above_zero: float
    confidence: float

    def record(self) -> dict[str, float | None]:
        """As plain JSON."""
        return asdict(self)


def paired_difference(
    average_precision: np.ndarray, other: np.ndarray, *, resamples: int, confidence: float, seed: int
) -> PairedDifference:
    """Bootstrap the difference in GMAP between two retrievers.

    Every resample draws as many queries as there are, with replacement, the same ones for both retrievers and
    all seeds; then as many seeds, the same ones for both. The GMAP of a seed is the geometric mean over K of
    the mean AP@K of the drawn queries. Drawing among s seeds understates their spread by (s - 1) / s, which
    matters with two or three (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, sections 6 and
    13). Training seeds count as pairs: entry i of both.

    Args:
        average_precision: AP@K as in `Retrieval`, [q, 6], or [s, q, 6] for a retriever that was trained with
            s seeds.
        other: of the other retriever for the same queries (and seeds), the same shape.
        resamples: from 1.
        confidence: between 0 and 1.
        seed: of the resampling; the same seed gives the same result.

    Raises:
        ValueError: the shapes do not fit, or a parameter is out of its range.
    """
    first, second = _by_seed(average_precision), _by_seed(other)
    if first.shape != second.shape:
        raise ValueError(f"{first.shape} and {second.shape} [seeds, queries, K]; paired are equal shapes")
    if resamples < 1 or not 0 < confidence < 1:
        raise ValueError(f"resamples {resamples}, confidence {confidence}; allowed are from 1 and 0 to 1")
    drawn_first, drawn_second = _resampled_gmap(first, second, resamples, seed)
    gmap, other_gmap = _gmap(first.mean(axis=1)).mean(), _gmap(second.mean(axis=1)).mean()
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    differences = drawn_first - drawn_second
    low, high = np.quantile(differences, tails)
    relative: tuple[float | None, float | None, float | None] = (None, None, None)
    if other_gmap > 0:
        usable = drawn_second > 0
        relative_low, relative_high = np.quantile(differences[usable] / drawn_second[usable], tails)
        relative = (float((gmap - other_gmap) / other_gmap), float(relative_low), float(relative_high))
    return PairedDifference(
        float(gmap),
        float(other_gmap),
        float(gmap - other_gmap),
        float(low),
        float(high),
        *relative,
        above_zero=float((differences > 0).mean()),
        confidence=confidence,
    )


def _by_seed(average_precision: np.ndarray) -> np.ndarray:
    values = np.asarray(average_precision, dtype=np.float64)
    values = values[None] if values.ndim == 2 else values
    if values.ndim != 3 or values.shape[2] != len(MAP_KS) or 0 in values.shape:
        raise ValueError(
            f"{values.shape}; allowed is [queries, {len(MAP_KS)}] or [seeds, queries, {len(MAP_KS)}]"
        )
    return values


def _resampled_gmap(
    first: np.ndarray, second: np.ndarray, resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """GMAP of both in every resample, mean over the drawn seeds, [resamples] each."""
    seeds, queries, _ = first.shape
    # Two sources of chance, so that how many resamples are worked on at once changes nothing.
    of_queries, of_seeds = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])
    at_once = max(1, INDICES_AT_ONCE // queries)
    found: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for start in range(0, resamples, at_once):
        count = min(at_once, resamples - start)
        # How often each query was drawn says all, and makes the means a matrix product.
        times = _counts(of_queries.integers(queries, size=(count, queries)), queries)
        weights = _counts(of_seeds.integers(seeds, size=(count, seeds)), seeds) / seeds
        for values, results in zip((first, second), found, strict=True):
            by_seed = np.stack([_gmap(times @ of_seed / queries) for of_seed in values], axis=1)
            results.append((by_seed * weights).sum(axis=1))
    return np.concatenate(found[0]), np.concatenate(found[1])


def _counts(drawn: np.ndarray, size: int) -> np.ndarray:
    """How often each of 0 .. size - 1 stands in each row, [rows, size] float64."""
    rows = len(drawn)
    keys = drawn + (np.arange(rows) * size)[:, None]
    return np.bincount(keys.ravel(), minlength=rows * size).reshape(rows, size).astype(np.float64)


def _gmap(map_at_k: np.ndarray) -> np.ndarray:
    """Geometric mean over the last axis; 0 where one of the values is 0."""
    logarithms = np.log(np.where(map_at_k > 0, map_at_k, 1.0))
    return np.where((map_at_k > 0).all(axis=-1), np.exp(logarithms.mean(axis=-1)), 0.0)
