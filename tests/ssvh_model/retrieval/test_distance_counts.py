"""Counts by distance against a table of all distances."""

import numpy as np
import pytest

from ssvh_model.retrieval import distance_counts
from ssvh_model.retrieval.codes import pack
from ssvh_model.retrieval.distance_counts import DistanceCounts
from ssvh_model.retrieval.hamming import as_words, hamming_distances
from ssvh_model.retrieval.relevance import Relevance
from tests.ssvh_model.retrieval.naive import group_by_hamming


@pytest.mark.parametrize("bits", [4, 8, 63, 64, 130, 255, 256, 300])
@pytest.mark.parametrize("most_labels", [1, 3])
@pytest.mark.parametrize("pairs", [70, 2**15])
@pytest.mark.parametrize("most_runs", [0, 64])
def test_equal_to_a_table_of_all_distances(
    bits: int, most_labels: int, pairs: int, most_runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distance_counts, "PAIRS_AT_ONCE", pairs)
    monkeypatch.setattr(distance_counts, "MOST_RUNS", most_runs)
    generator = np.random.default_rng(bits)

    def videos(count: int) -> tuple[np.ndarray, list[tuple[str, ...]]]:
        codes = generator.choice(np.array([-1, 1], dtype=np.int8), (count, bits))
        sizes = generator.integers(0, most_labels + 1, count)
        return as_words(pack(codes)), [
            tuple(generator.choice(list("abcdefg"), size, replace=False)) for size in sizes
        ]

    (query, query_labels), (database, labels) = videos(12), videos(50)
    query[3], query[4] = database[7], database[8] ^ np.uint64(1)
    own = np.full(12, -1)
    own[3:5] = [7, 8]
    relevance = Relevance(query_labels, labels)
    found = DistanceCounts(database, relevance, bits=bits).groups(query[2:9], start=2, own=own[2:9])
    expected = group_by_hamming(
        hamming_distances(query[2:9], database), relevance.rows(2, 9), bits=bits, own=own[2:9]
    )
    np.testing.assert_array_equal(found.items, expected.items)
    np.testing.assert_array_equal(found.relevant, expected.relevant)
    np.testing.assert_array_equal(found.total_relevant, expected.total_relevant)


def test_the_greatest_distance_has_its_place() -> None:
    codes = np.ones((1, 300), dtype=np.int8)
    relevance = Relevance([("a",)], [("a",)])
    groups = DistanceCounts(as_words(pack(-codes)), relevance, bits=300).groups(
        as_words(pack(codes)), start=0, own=np.array([-1])
    )
    assert groups.items[0, 300] == groups.relevant[0, 300] == groups.items.sum() == 1
