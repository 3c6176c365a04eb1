"""Bit statistics: constant, equal, opposite and unequal bits."""

import numpy as np
import pytest

from ssvh_model.retrieval.bits import bit_statistics


def test_finds_constant_and_duplicate_bits() -> None:
    first = np.array([1, 1, -1, -1, 1, -1])
    other = np.array([1, -1, 1, -1, 1, 1])
    codes = np.stack([first, np.ones(6, int), -first, other, first], axis=1).astype(np.int8)
    statistics = bit_statistics(codes)
    assert statistics.constant_bits == [1]
    assert statistics.duplicate_bits == [(0, 2), (0, 4), (2, 4)]
    assert statistics.distinct_codes == 4
    np.testing.assert_allclose(statistics.balance, [0, 1, 0, 1 / 3, 0])
    assert statistics.correlation[0, 2] == -1 and statistics.correlation[0, 4] == 1
    assert statistics.record(6)["largest_absolute_correlation"] == 1


def test_correlation_is_that_of_numpy() -> None:
    codes = np.random.default_rng(0).choice(np.array([-1, 1], dtype=np.int8), (50, 12), p=[0.3, 0.7])
    np.testing.assert_allclose(bit_statistics(codes).correlation, np.corrcoef(codes.T), atol=1e-12)


def test_two_constant_bits_are_no_duplicates() -> None:
    statistics = bit_statistics(np.ones((4, 2), dtype=np.int8))
    assert statistics.duplicate_bits == [] and statistics.constant_bits == [0, 1]
    assert statistics.distinct_codes == 1 and statistics.correlation[0, 1] == 0


def test_one_bit_and_one_video() -> None:
    assert bit_statistics(np.ones((1, 1), dtype=np.int8)).record(1)["mean_absolute_correlation"] == 0


def test_no_codes_is_refused() -> None:
    with pytest.raises(ValueError, match="no codes"):
        bit_statistics(np.ones((0, 4), dtype=np.int8))
