"""The paired bootstrap beside a naive loop, and in cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from ssvh_model.retrieval import bootstrap
from ssvh_model.retrieval.bootstrap import paired_difference
from ssvh_model.retrieval.gmap import MAP_KS, gmap

K = len(MAP_KS)


def precision(seeds: int, queries: int, seed: int, raised: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    hard = rng.uniform(0.05, 0.6, size=(1, queries, 1))  # some queries are hard for everybody
    return np.clip(hard + rng.normal(0, 0.02, size=(seeds, queries, K)) + raised, 0.001, 1)


def naive(first: np.ndarray, second: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """The difference in every resample, one at a time."""
    seeds, queries, _ = first.shape
    of_queries, of_seeds = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])
    differences = []
    for _ in range(resamples):
        drawn = of_queries.integers(queries, size=queries)
        gmaps = []
        for number in of_seeds.integers(seeds, size=seeds):
            pair = []
            for values in (first, second):
                means = [np.mean([values[number, query, k] for query in drawn]) for k in range(K)]
                pair.append(gmap(dict(zip(MAP_KS, means, strict=True))))
            gmaps.append(pair[0] - pair[1])
        differences.append(np.mean(gmaps))
    return np.array(differences)


@pytest.mark.parametrize("seeds", [1, 3])
def test_equals_the_naive_form(monkeypatch: pytest.MonkeyPatch, seeds: int) -> None:
    first, second = precision(seeds, 15, 0, raised=0.01), precision(seeds, 15, 0)
    loop = naive(first, second, 60, seed=5)
    fast = paired_difference(first, second, resamples=60, confidence=0.8, seed=5)
    assert [fast.low, fast.high] == pytest.approx(np.quantile(loop, [0.1, 0.9]).tolist())
    assert fast.above_zero == pytest.approx((loop > 0).mean())
    whole = [gmap(dict(zip(MAP_KS, values.mean(axis=0), strict=True))) for values in first]
    assert fast.gmap == pytest.approx(np.mean(whole))
    assert fast.difference == pytest.approx(fast.gmap - fast.other_gmap)
    monkeypatch.setattr(bootstrap, "INDICES_AT_ONCE", 100)
    in_parts = paired_difference(first, second, resamples=60, confidence=0.8, seed=5)
    assert in_parts.record() == pytest.approx(fast.record())  # sums of another order have other last digits


def test_pairing_tells_apart_what_the_spread_of_queries_would_hide() -> None:
    first, second = precision(1, 200, 1, raised=0.02), precision(1, 200, 1)
    paired = paired_difference(first, second, resamples=500, confidence=0.95, seed=0)
    assert 0 < paired.low < paired.difference < paired.high and paired.above_zero == 1
    shuffled = second[:, np.random.default_rng(0).permutation(200)]
    unpaired = paired_difference(first, shuffled, resamples=500, confidence=0.95, seed=0)
    assert unpaired.high - unpaired.low > 5 * (paired.high - paired.low)
    assert (
        paired.relative is not None and paired.relative_low is not None and paired.relative_high is not None
    )
    assert paired.relative == pytest.approx(paired.difference / paired.other_gmap)
    assert paired.relative_low < paired.relative < paired.relative_high


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    held = 0
    for trial in range(100):
        rng = np.random.default_rng(trial)
        base = rng.uniform(0.1, 0.5, size=(80, 1))
        first = np.repeat(base + rng.normal(0, 0.05, size=(80, 1)), K, axis=1)
        second = np.repeat(base, K, axis=1)
        result = paired_difference(first, second, resamples=200, confidence=0.9, seed=trial)
        held += result.low <= 0 <= result.high
    assert 82 <= held <= 97


def test_the_same_retriever_differs_by_nothing() -> None:
    values = precision(2, 20, 3)
    result = paired_difference(values, values, resamples=50, confidence=0.95, seed=0)
    assert (result.difference, result.low, result.high, result.above_zero) == (0, 0, 0, 0)
    assert result.record()["relative"] == 0


def test_the_spread_of_seeds_widens_the_interval() -> None:
    second = precision(4, 50, 4)
    steady, unsteady = second + 0.01, second + np.array([-0.05, 0.07, -0.05, 0.07])[:, None, None]
    widths = [
        result.high - result.low
        for result in (
            paired_difference(first, second, resamples=300, confidence=0.95, seed=0)
            for first in (steady, unsteady)
        )
    ]
    assert widths[1] > 3 * widths[0]


def test_a_retriever_that_finds_nothing_has_no_relative_difference() -> None:
    nothing = np.zeros((12, K))
    result = paired_difference(precision(1, 12, 0)[0], nothing, resamples=20, confidence=0.95, seed=0)
    assert result.relative is None and result.relative_low is None and result.other_gmap == 0
    assert result.above_zero == 1


def test_what_does_not_fit_is_refused() -> None:
    values = precision(1, 10, 0)
    with pytest.raises(ValueError, match="paired are equal shapes"):
        paired_difference(values, values[:, :9], resamples=10, confidence=0.95, seed=0)
    with pytest.raises(ValueError, match="allowed is"):
        paired_difference(values[..., :5], values[..., :5], resamples=10, confidence=0.95, seed=0)
    with pytest.raises(ValueError, match="confidence 1"):
        paired_difference(values, values, resamples=10, confidence=1, seed=0)
