"""The search in cells, against one that looks at every code of the nearest cells and sorts."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssvh_model.index.cells import Cells, CellSearch, make_cells
from ssvh_model.index.coded_videos import CodedVideos
from ssvh_model.index.index_folder import IndexFolder, IndexSettings
from ssvh_model.index.scan import nearest
from ssvh_model.index.snapshot import open_snapshot
from ssvh_model.retrieval.hamming import as_words, hamming_distances
from tests.conftest import REPOSITORY

SEEDS = st.integers(0, 2**32 - 1)


def codes(rng: np.random.Generator, videos: int, size: int, values: int = 256) -> np.ndarray:
    """Few `values` make many ties."""
    return rng.integers(0, values, (videos, size), dtype=np.uint8)


@pytest.fixture
def all_threads() -> Iterator[None]:
    """faiss's own number of threads again, after a test that has set it."""
    before = faiss.omp_get_max_threads()
    yield
    faiss.omp_set_num_threads(before)


def naive(
    query: np.ndarray, left: np.ndarray, cell_of: np.ndarray, cells: Cells, count: int
) -> list[tuple[list[int], list[int]]]:
    """Rows and distances for each query: all rows of the nearest cells, the first of equally near ones, and
    of none (-1), sorted.
    """
    found = []
    to_centres = hamming_distances(as_words(query), cells.centres)
    for distances, to_centre in zip(hamming_distances(query, left), to_centres, strict=True):
        chosen = to_centre.argsort(kind="stable")[: cells.probes]
        rows = np.flatnonzero(np.isin(cell_of, chosen) | (cell_of < 0))
        rows = rows[distances[rows].argsort(kind="stable")][:count]
        found.append((rows.tolist(), distances[rows].tolist()))
    return found


@given(
    videos=st.integers(8, 300),
    queries=st.integers(1, 5),
    size=st.sampled_from([1, 2, 4, 8, 12, 16, 24, 32, 64, 100]),
    values=st.sampled_from([1, 2, 3, 256]),
    cells=st.integers(1, 8),
    removed=st.integers(0, 8),
    added=st.integers(0, 30),
    count=st.integers(1, 400),
    threads=st.integers(1, 3),
    seed=SEEDS,
    data=st.data(),
)
def test_it_finds_what_a_naive_search_in_the_same_cells_finds_ties_in_order(
    videos: int,
    queries: int,
    size: int,
    values: int,
    cells: int,
    removed: int,
    added: int,
    count: int,
    threads: int,
    seed: int,
    data: st.DataObject,
) -> None:
    rng = np.random.default_rng(seed)
    database = codes(rng, videos, size, values)
    probes = data.draw(st.integers(1, cells), label="probes")
    order, made = make_cells(database, 8 * size, cells=cells, probes=probes, seed=1)
    cell_of = np.repeat(np.arange(cells), np.diff(made.ends, prepend=0))
    kept = np.sort(rng.permutation(videos)[removed:])
    left = np.concatenate([database[order][kept], codes(rng, added, size, values)])
    cell_of = np.concatenate([cell_of[kept], np.full(added, -1)])
    file = CellSearch(made, as_words(left), kept if removed else None)
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads)
    try:
        for _ in range(2):  # lists are filled at the first question that needs them
            query = codes(rng, queries, size, values)
            rows, distances = file.nearest(as_words(query), count)
            for own, (expected_rows, expected) in enumerate(naive(query, left, cell_of, made, count)):
                there = rows[own] >= 0
                assert rows[own][there].tolist() == expected_rows
                assert distances[own][there].tolist() == expected
                assert not there[len(expected) :].any() and (distances[own][~there] == -1).all()
    finally:
        faiss.omp_set_num_threads(before)


def test_of_equally_near_cells_and_codes_the_first_count() -> None:
    """More codes than any heap or block of faiss holds are all alike."""
    centres = as_words(np.zeros((5, 8), np.uint8))
    ends = np.array([0, 70_000, 140_000, 140_000, 150_000])
    words = as_words(np.zeros((160_000, 8), np.uint8))
    rows, distances = CellSearch(Cells(centres, ends, 2), words, None).nearest(words[:3], 150)
    assert (distances == 0).all() and (rows == np.arange(150)).all()
    rows, _ = CellSearch(Cells(centres, ends, 1), words, None).nearest(words[:1], 150)
    assert rows.tolist() == [list(range(150_000, 150_150))], (
        "the first cell is empty; what is in no cell remains"
    )


@pytest.mark.usefixtures("all_threads")
def test_a_large_search_in_all_cells_agrees_with_the_exact_one() -> None:
    rng = np.random.default_rng(1)
    database, query = codes(rng, 60_000, 8), as_words(codes(rng, 70, 8))
    order, cells = make_cells(database, 64, cells=50, probes=50, seed=1)
    words = as_words(database[order])
    expected = nearest(query, words, count=300)
    file = CellSearch(cells, words, None)
    for threads in (1, 2, 5):
        faiss.omp_set_num_threads(threads)
        for found, exact in zip(file.nearest(query, 300), expected, strict=True):
            assert np.array_equal(found, exact)


def test_threads_that_share_it_find_what_one_finds() -> None:
    """They ask at the same time for lists that are not filled yet."""
    rng = np.random.default_rng(2)
    database, query = codes(rng, 20_000, 8), as_words(codes(rng, 200, 8))
    order, cells = make_cells(database, 64, cells=200, probes=3, seed=1)
    words = as_words(database[order])
    expected = CellSearch(cells, words, None).nearest(query, 20)
    shared, begin = CellSearch(cells, words, None), threading.Barrier(8)
    found: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def ask(who: int) -> None:
        begin.wait(timeout=300)
        for number in range(who, len(query), 8):
            found[number] = shared.nearest(query[number : number + 1], 20)

    threads = [threading.Thread(target=ask, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(len(query)):
        for one, many in zip(found[number], expected, strict=True):
            assert np.array_equal(one[0], many[number])


ANSWERS = """
import sys
from pathlib import Path
import numpy as np
from ssvh_model.index.snapshot import open_snapshot
snapshot = open_snapshot(Path(sys.argv[1]))
query = np.random.default_rng(3).integers(0, 256, (40, 2), dtype=np.uint8)
print(snapshot.search, [part.tolist() for part in snapshot.nearest(query, 30)])
"""


@pytest.mark.slow
def test_processes_with_other_numbers_of_threads_give_the_same_answers(
    tmp_path: Path, coded: Callable[..., CodedVideos], hasher: Path
) -> None:
    index = IndexFolder(tmp_path / "index")
    with index.alone():
        index.replace(coded(3000), hasher, IndexSettings(10, 16, 3), seed=1)
        index.add(coded(50, seed=1, prefix="new"))
        index.remove(["video-4", "new-1"])
    answers = [
        subprocess.run(
            [sys.executable, "-c", ANSWERS, str(index.folder)],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
            timeout=600,
        ).stdout
        for threads in ("1", "3")
    ]
    assert answers[0] == answers[1] and answers[0].startswith("search in 3 of 16 cells [[[")


def test_cells_that_an_earlier_version_wrote_are_searched(
    tmp_path: Path, coded: Callable[..., CodedVideos], hasher: Path
) -> None:
    """What stands in the file is what stood there when the search was not yet faiss's."""
    import h5py

    index = IndexFolder(tmp_path / "index")
    videos = coded(20)
    with index.alone():
        index.replace(videos, hasher, IndexSettings(1000, 4, 2), seed=1)
    with h5py.File(index.folder / "000001/codes.h5", "a") as file:
        file["cell_centres"] = np.array([[0], [0xFFFF]], np.uint64)
        file["cell_ends"] = np.array([5, 20], np.int64)
        file["cell_probes"] = np.array([1], np.int64)
    snapshot = open_snapshot(index.folder)
    assert snapshot.search == "search in 1 of 2 cells"
    rows, _ = snapshot.nearest(np.array([[0x01, 0x00], [0xFF, 0xF7]], np.uint8), 20)
    assert sorted(rows[0][rows[0] >= 0].tolist()) == list(range(5))
    assert sorted(rows[1][rows[1] >= 0].tolist()) == list(range(5, 20))
