"""How fast codes are searched, beside the time of reading them once from memory, and which index is worth it
from which size on.

    python benchmarks/search.py
    python benchmarks/search.py --videos 1000000 --no-approximate

Everything runs on one core and is counted in seconds of processor time, which other work on the machine
changes less than the clock. "Reading once" is the sum of an array many times larger than the processor's
cache, taken per byte: codes that are in no cache. Random codes, the hardest ones, tell the speed of the exact
search, which does not depend on the codes; the approximate ones are measured on made-up codes of kinds of
videos, with queries that are distorted videos, because among random codes there is no near neighbour to be
found. Ten million codes and HNSW take 4 GB of memory.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

from machine import machine, write_result  # isort: skip  (before torch)

import faiss
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from ssvh_model.index.cells import CellSearch, make_cells
from ssvh_model.index.scan import nearest, within
from ssvh_model.retrieval.hamming import as_words

KINDS = 20_000  # of videos among the made-up codes
SPREAD = 0.12  # share of bits in which a video differs from its kind
RADIUS = 3  # of near-duplicates
DISTORTED = 0.05  # share of bits in which a query differs from its video


def best(work: Callable[[], object], repeats: int) -> float:
    """Least seconds of processor time of one core."""
    work()
    taken = []
    for _ in range(repeats):
        began = time.thread_time()
        work()
        taken.append(time.thread_time() - began)
    return min(taken)


def reading_seconds(size: int) -> float:
    """Seconds to read `size` bytes once from memory."""
    array = np.ones(2**28 // 8, dtype=np.uint64)
    return best(array.sum, 7) * size / array.nbytes


def random_codes(videos: int, size: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (videos, size), dtype=np.uint8)


def flipped(codes: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Codes with a share of their bits turned over, at random."""
    result = np.empty_like(codes)
    for start in range(0, len(codes), 1 << 18):
        part = codes[start : start + (1 << 18)]
        noise = rng.random((*part.shape, 8), dtype=np.float32) < share
        result[start : start + len(part)] = part ^ np.packbits(noise, axis=2)[:, :, 0]
    return result


def like_videos(videos: int, queries: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Made-up codes of kinds of videos, and queries that are some of them, distorted."""
    rng = np.random.default_rng(seed)
    kinds = random_codes(KINDS, size, seed)
    codes = flipped(kinds[rng.integers(0, KINDS, videos)], SPREAD, rng)
    return codes, flipped(codes[rng.integers(0, videos, queries)], DISTORTED, rng)


def exact(videos: int, bits: int, count: int, repeats: int) -> list[dict[str, Any]]:
    """The scan and faiss's flat index on random codes, by queries a batch."""
    codes = random_codes(videos, bits // 8, 1)
    words = as_words(codes)
    read = reading_seconds(codes.nbytes)
    flat = faiss.IndexBinaryFlat(bits)
    flat.add(codes)
    rows = []
    for queries in (1, 16, 64, 256):
        query = random_codes(queries, bits // 8, 2)
        for name, search in _searches(flat, words, query, count).items():
            seconds = best(search, repeats) / queries
            rows.append(
                {
                    "videos": videos,
                    "queries_a_batch": queries,
                    "search": name,
                    "milliseconds_a_query": round(1000 * seconds, 4),
                    "times_reading_once": round(seconds / read, 2),
                }
            )
    return [{"videos": videos, "reading_once_milliseconds": round(1000 * read, 4)}, *rows]


def _searches(flat: Any, words: np.ndarray, query: np.ndarray, count: int) -> dict[str, Callable[[], object]]:
    def with_faiss(heap: bool) -> Callable[[], object]:
        def run() -> object:
            flat.use_heap = heap
            return flat.search(query, count)

        return run

    return {
        "ssvh scan": lambda: nearest(as_words(query), words, count=count),
        "faiss flat, counting": with_faiss(False),
        "faiss flat, heap": with_faiss(True),
        f"ssvh scan, all within {RADIUS} bits": lambda: list(within(as_words(query), words, radius=RADIUS)),
        f"faiss flat, all within {RADIUS} bits": lambda: flat.range_search(query, RADIUS + 1),
    }


def approximate(
    videos: int, bits: int, count: int, queries: int, seed: int, *, only_cells: bool = False
) -> list[dict[str, Any]]:
    """Exact and approximate searches of single queries: time, what is found of the true nearest, time to
    build, memory.
    """
    codes, query = like_videos(videos, queries, bits // 8, seed)
    words, query_words = as_words(codes), as_words(query)
    _, true_distances = nearest(query_words, words, count=count)
    rows = []

    def measure(
        name: str, setting: str, search: Callable[[np.ndarray], np.ndarray], built: float, megabytes: float
    ) -> None:
        seconds = best(lambda: [search(query[n : n + 1]) for n in range(queries)], 2) / queries
        distances = np.concatenate([search(query[n : n + 1]) for n in range(queries)])
        # Equally near ones count as found: what is asked is whether something nearer was missed.
        recall = float(np.mean((distances <= true_distances[:, -1:]) & (distances >= 0)))
        rows.append(
            {
                "videos": videos,
                "search": name,
                "setting": setting,
                "milliseconds_a_query": round(1000 * seconds, 3),
                "recall": round(recall, 4),
                "seconds_to_build": round(built, 1),
                "megabytes": round(megabytes, 1),
            }
        )
        print(rows[-1], flush=True)

    measure("exact", "", lambda one: nearest(as_words(one), words, count=count)[1], 0.0, codes.nbytes / 1e6)
    _measure_cells(codes, bits, count, measure)
    if not only_cells:
        _measure_faiss(codes, bits, count, measure)
    return rows


def _measure_cells(codes: np.ndarray, bits: int, count: int, measure: Callable[..., None]) -> None:
    for number in (1024, 4096):
        began = time.thread_time()
        order, cells = make_cells(codes, bits, cells=number, probes=1, seed=1)
        built = time.thread_time() - began
        ordered = as_words(codes[order])
        ivf, filled = _faiss_cells(codes, bits, cells.centres)
        size = (codes.nbytes + 8 * len(codes)) / 1e6  # a row's number stands beside each code
        for probes in (16, 64, 256):
            setting = f"{number} cells, {probes} probes"
            file = CellSearch(replace(cells, probes=probes), ordered, None)

            def search(one: np.ndarray, file: CellSearch = file) -> np.ndarray:
                return file.nearest(as_words(one), count)[1]

            # Beside the codes themselves, which the exact search needs.
            measure("cells", setting, search, built, codes.nbytes / 1e6 + size)
            ivf.nprobe = probes
            measure(
                "faiss IVF alone, same cells",
                setting,
                lambda one, ivf=ivf: ivf.search(one, count)[0],
                built + filled,
                size,
            )


def _faiss_cells(codes: np.ndarray, bits: int, centres: np.ndarray) -> tuple[Any, float]:
    """faiss's IVF over our centres, and the seconds that it takes to put the codes there."""
    quantizer = faiss.IndexBinaryFlat(bits)
    quantizer.add(np.ascontiguousarray(centres.view(np.uint8)[:, : bits // 8]))
    ivf = faiss.IndexBinaryIVF(quantizer, bits, len(centres))
    ivf.referenced = quantizer  # which faiss does not keep alive
    ivf.is_trained = True
    began = time.thread_time()
    ivf.add(codes)
    return ivf, time.thread_time() - began


def _measure_faiss(codes: np.ndarray, bits: int, count: int, measure: Callable[..., None]) -> None:
    """HNSW and multi-hash of faiss."""
    videos = len(codes)
    if videos <= 1_000_000:  # a graph of ten million takes hours to build
        graph = faiss.IndexBinaryHNSW(bits, 16)
        began = time.thread_time()
        graph.add(codes)
        built = time.thread_time() - began
        for reach in (128, 512):
            graph.hnsw.efSearch = reach
            size = (codes.nbytes + videos * 4 * (2 * 16 + 2)) / 1e6
            measure("HNSW", f"16 links, reach {reach}", lambda one: graph.search(one, count)[0], built, size)
    part_bits = 16 if videos <= 1_000_000 else 20
    parts = bits // part_bits
    tables = faiss.IndexBinaryMultiHash(bits, parts, part_bits)
    began = time.thread_time()
    tables.add(codes)
    built = time.thread_time() - began
    for flips in (0, 1, 2):
        tables.nflip = flips
        setting = f"{parts} tables of {part_bits} bits, {flips} flips"
        size = (codes.nbytes + parts * videos * 8) / 1e6
        measure("multi-hash", setting, lambda one: _found(tables, one, count), built, size)


def _found(tables: Any, one: np.ndarray, count: int) -> np.ndarray:
    """Distances; -1 where fewer were found."""
    distances, rows = tables.search(one, count)
    return np.where(rows >= 0, distances, -1)


def table(rows: list[dict[str, Any]]) -> Table:
    shown = Table(*rows[0])
    for row in rows:
        shown.add_row(*(str(value) for value in row.values()))
    return shown


def main() -> None:
    """Parse the command line, measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", type=int, nargs="+", default=[10**5, 10**6, 10**7])
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--count", type=int, default=100, help="nearest that are asked for")
    parser.add_argument("--queries", type=int, default=50, help="of the approximate searches")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-approximate", action="store_true")
    parser.add_argument(
        "--only-cells", action="store_true", help="of the approximate ones; and no exact search"
    )
    parser.add_argument("--name", default="search", help="of the file in benchmarks/results")
    arguments = parser.parse_args()
    faiss.omp_set_num_threads(1)
    torch.set_num_threads(1)
    console, reading, exact_rows, other_rows = Console(), [], [], []
    for videos in [] if arguments.only_cells else arguments.videos:
        read, *rows = exact(videos, arguments.bits, arguments.count, arguments.repeats)
        reading.append(read)
        exact_rows += rows
        console.print(
            f"{videos} codes: reading once from memory takes {read['reading_once_milliseconds']} ms"
        )
        console.print(table(rows))
    if not arguments.no_approximate:
        for videos in arguments.videos:
            other_rows += approximate(
                *(videos, arguments.bits, arguments.count, arguments.queries),
                seed=3,
                only_cells=arguments.only_cells,
            )
        console.print(table(other_rows))
    write_result(
        arguments.name,
        {
            "bits": arguments.bits,
            "count": arguments.count,
            "reading": reading,
            "exact": exact_rows,
            "approximate": other_rows,
            "machine": machine(),
        },
    )


if __name__ == "__main__":
    main()
