"""Pairs and groups of near-duplicates, against a comparison of every code with every other."""

from __future__ import annotations

import numpy as np
import pytest

from ssvh_model.index.duplicates import duplicate_groups, duplicate_pairs, groups_of_pairs
from ssvh_model.retrieval.hamming import as_words, hamming_distances


@pytest.mark.parametrize("radius", [0, 1, 3])
def test_pairs_are_all_that_are_near_and_make_the_same_groups(radius: int) -> None:
    codes = np.random.default_rng(radius).integers(0, 4, (60, 2), dtype=np.uint8)  # many are the same
    words = as_words(codes)
    distances = hamming_distances(words, words)
    wanted = [
        (first, second)
        for first in range(60)
        for second in range(first + 1, 60)
        if distances[first, second] <= radius
    ]
    pairs = duplicate_pairs(words, radius=radius)
    assert list(map(tuple, pairs.tolist())) == wanted
    groups = [group.tolist() for group in duplicate_groups(words, radius=radius)]
    assert [group.tolist() for group in groups_of_pairs(pairs, 60)] == groups


def test_nothing_makes_no_pairs() -> None:
    words = as_words(np.empty((0, 2), dtype=np.uint8))
    assert duplicate_pairs(words, radius=3).shape == (0, 2)
    assert duplicate_groups(words, radius=3) == groups_of_pairs(np.empty((0, 2), dtype=np.int64), 0) == []
    far = as_words(np.array([[0], [255]], dtype=np.uint8))
    assert duplicate_pairs(far, radius=3).shape == (0, 2)
