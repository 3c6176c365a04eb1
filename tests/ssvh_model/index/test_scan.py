from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssvh_model.index import scan
from ssvh_model.index.scan import nearest, within
from ssvh_model.retrieval.codes import pack, unpack
from ssvh_model.retrieval.hamming import as_words, hamming_distances


def naive(query: np.ndarray, database: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Every distance, bit by bit, then a stable sort."""
    distances = (unpack(query, 8 * query.shape[1])[:, None] != unpack(database, 8 * query.shape[1])).sum(2)
    order = distances.argsort(axis=1, kind="stable")[:, :count]
    return order, np.take_along_axis(distances, order, axis=1)


def codes(rng: np.random.Generator, videos: int, size: int, values: int = 256) -> np.ndarray:
    """Few `values` make many ties."""
    return rng.integers(0, values, (videos, size), dtype=np.uint8)


@given(
    videos=st.integers(0, 300),
    queries=st.integers(1, 5),
    size=st.sampled_from([1, 2, 4, 8, 12, 16, 24, 32, 64, 100]),
    values=st.sampled_from([1, 2, 3, 256]),
    count=st.integers(1, 400),
    first_block=st.sampled_from([1, 3, 64, 1024]),
    few_codes=st.sampled_from([0, 1000]),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_scan_finds_what_a_naive_search_finds_ties_in_order(
    videos: int, queries: int, size: int, values: int, count: int, first_block: int, few_codes: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    query, database = codes(rng, queries, size, values), codes(rng, videos, size, values)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "FIRST_BLOCK", first_block)
        patch.setattr(scan, "FEW_CODES", few_codes)
        patch.setattr(scan, "CELLS", 64)
        patch.setattr(scan, "QUERIES_AT_ONCE", 2)
        rows, distances = nearest(as_words(query), as_words(database), count=count)
        found = sorted(
            (int(which), int(row), int(distance))
            for part in within(as_words(query), as_words(database), radius=size)
            for which, row, distance in zip(*part, strict=True)
        )
    expected_rows, expected_distances = naive(query, database, count)
    assert rows.tolist() == expected_rows.tolist()
    assert distances.tolist() == expected_distances.tolist()
    every = hamming_distances(query, database)
    assert found == [(q, r, int(every[q, r])) for q, r in np.argwhere(every <= size).tolist()]


@pytest.mark.parametrize("few_codes", [0, scan.FEW_CODES])
def test_a_large_scan_agrees_with_faiss_exact_index(few_codes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import faiss

    monkeypatch.setattr(scan, "FEW_CODES", few_codes)
    rng = np.random.default_rng(1)
    database, query = codes(rng, 60_000, 8), codes(rng, 70, 8)
    index = faiss.IndexBinaryFlat(64)
    index.add(database)
    expected, _ = index.search(query, 100)
    rows, distances = nearest(as_words(query), as_words(database), count=100)
    assert np.array_equal(distances, np.sort(expected, axis=1))
    assert np.array_equal(np.bitwise_count(database[rows] ^ query[:, None]).sum(2), distances)
    tied = np.diff(distances, axis=1) == 0
    assert tied.any() and (np.diff(rows, axis=1)[tied] > 0).all(), "equally near ones come by row"


def test_a_search_of_few_codes_leaves_the_number_of_threads_as_it_is() -> None:
    import faiss

    before = faiss.omp_get_max_threads()
    words = as_words(codes(np.random.default_rng(2), 50, 8))
    try:
        faiss.omp_set_num_threads(3)
        nearest(words[:2], words, count=5)
        assert faiss.omp_get_max_threads() == 3
    finally:
        faiss.omp_set_num_threads(before)


@given(
    bits=st.integers(1, 200),
    videos=st.integers(1, 20),
    seed=st.integers(0, 2**32 - 1),
)
def test_packing_keeps_every_bit_and_every_distance(bits: int, videos: int, seed: int) -> None:
    signs = np.random.default_rng(seed).choice(np.array([-1, 1], dtype=np.int8), (videos, bits))
    packed = pack(signs)
    assert packed.shape == (videos, -(-bits // 8))
    assert np.array_equal(unpack(packed, bits), signs)
    expected = (signs[:, None] != signs[None]).sum(2)
    assert np.array_equal(hamming_distances(packed, packed), expected)
