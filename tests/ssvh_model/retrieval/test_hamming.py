"""Hamming distances against counting bit by bit."""

import numpy as np
import pytest

from ssvh_model.retrieval.codes import pack
from ssvh_model.retrieval.hamming import hamming_distances
from ssvh_model.retrieval.neighbours import nearest_neighbours


def random_codes(videos: int, bits: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(np.array([-1, 1], dtype=np.int8), (videos, bits))


@pytest.mark.parametrize("bits", [1, 7, 8, 16, 63, 64, 65, 130, 300])
def test_equals_counting_bit_by_bit(bits: int) -> None:
    query, database = random_codes(4, bits, 0), random_codes(9, bits, 1)
    naive = [[sum(a != b for a, b in zip(left, right, strict=True)) for right in database] for left in query]
    distances = hamming_distances(pack(query), pack(database))
    assert distances.dtype == np.uint16
    np.testing.assert_array_equal(distances, naive)


def test_opposite_codes_are_as_far_as_there_are_bits_beyond_255() -> None:
    codes = np.ones((1, 600), dtype=np.int8)
    assert hamming_distances(pack(codes), pack(-codes))[0, 0] == 600


def test_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="words of 64 bits"):
        hamming_distances(np.zeros((1, 8), np.uint8), np.zeros((1, 9), np.uint8))


def test_nearest_neighbours_leave_the_query_out_and_keep_the_order_of_ties() -> None:
    codes = np.array([[1, 1, 1], [1, 1, -1], [1, 1, 1], [1, -1, 1]], dtype=np.int8)
    packed = pack(codes)
    order, distances = nearest_neighbours(packed[:1], packed, count=10, own=np.array([0]))
    np.testing.assert_array_equal(order, [[2, 1, 3, -1]])
    np.testing.assert_array_equal(distances[0, :3], [0, 1, 1])
    order, _ = nearest_neighbours(packed[:1], packed, count=2, own=np.array([-1]))
    np.testing.assert_array_equal(order, [[0, 2]])
