"""An index in PostgreSQL, on a real server: the same answers as the folder's, whole changes, and many who
make them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import psycopg
import pytest

from ssvh_model.errors import UserError
from ssvh_model.features import write_feature_file
from ssvh_model.index.coded_videos import CodedVideos, HasherIdentity, whole_spans
from ssvh_model.index.hit import Hit
from ssvh_model.index.index import Index
from ssvh_model.index.index_folder import IndexFolder
from ssvh_model.index.postgres import generations
from ssvh_model.index.postgres.postgres_index import PostgresIndex
from ssvh_model.index.searcher import Searcher
from ssvh_model.index.settings import IndexSettings
from ssvh_model.model.hasher_file import hasher_digest
from tests.conftest import REPOSITORY
from tests.hashers import META, write_hasher
from tests.postgresql import PostgreSQL

Coded = Callable[..., CodedVideos]
EXACT = IndexSettings(exact_up_to=10**6, cells=8, probes=4)
SECONDS = 300.0  # until which what is waited for must have come


def in_segments(videos: CodedVideos, rows_a_video: Sequence[int]) -> CodedVideos:
    """The rows of `videos` as those of fewer videos: so many rows each, a second long."""
    first = np.repeat(np.cumsum([0, *rows_a_video[:-1]]), rows_a_video)
    starts = np.arange(len(first)) - first
    chosen = videos.rows(first)
    spans = np.stack([starts, starts + 1], axis=1).astype(np.float32)
    return replace(chosen, codes=videos.codes[: len(first)], spans=spans)


def answers(index: Index, queries: np.ndarray, count: int) -> list[list[list[Hit]]]:
    snapshot = index.snapshot()
    return [snapshot.hits(queries, count, group) for group in ("video", "none")]


def same(one: Index, other: Index) -> None:
    """Both hold the same, and answer alike."""
    snapshots = [index.snapshot(loaded=True) for index in (one, other)]
    first, second = (snapshot.whole() for snapshot in snapshots)
    for name in ("ids", "labels", "paths"):
        assert list(getattr(first, name)) == list(getattr(second, name))
    for name in ("codes", "durations", "spans"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
        assert getattr(first, name).dtype == getattr(second, name).dtype
    assert (first.bits, first.hasher, first.source) == (second.bits, second.hasher, second.source)
    counts = [(len(snapshot), snapshot.videos, snapshot.removed_ids()) for snapshot in snapshots]
    assert counts[0] == counts[1]
    signs = np.random.default_rng(5).integers(0, 2, (4, first.bits))
    queries = np.packbits(signs, axis=1, bitorder="little")
    for count in (1, 40):
        assert answers(one, queries, count) == answers(other, queries, count)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_answers_as_the_folder_does_after_any_changes(
    vector_database: str, tmp_path: Path, coded: Coded, hasher: Path, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    indexes: list[Index] = [IndexFolder(tmp_path / "index"), PostgresIndex(vector_database)]
    there: list[str] = []
    for step in range(8):
        # Codes of so few kinds that many are equally near.
        videos = coded(60, seed=100 * seed + step, prefix=f"step-{step}")
        videos = replace(videos, codes=videos.codes & 3)
        if step % 2:
            videos = in_segments(videos, rng.integers(1, 4, 25).tolist())
        what = "replace" if step in (0, 5) else rng.choice(["add", "remove"])
        gone = rng.choice(there, min(9, len(there)), replace=False).tolist() if there else []
        for index in indexes:
            with index.alone():
                if what == "replace":
                    index.replace(videos, hasher, EXACT, seed=1, removed=gone)
                elif what == "add":
                    index.add(videos)
                else:
                    assert index.remove(gone) == gone
        new = list(dict.fromkeys(videos.ids))
        there = {"replace": new, "add": there + new}.get(what) or [one for one in there if one not in gone]
        same(*indexes)
    assert indexes[0].known([*there[:3], "none"]) == indexes[1].known([*there[:3], "none"])
    for index in indexes:
        with pytest.raises(UserError, match="has no video 'nobody'"):
            index.remove([there[0], "nobody"])
        with pytest.raises(UserError, match=f"has a video {there[0]!r} already"):
            index.add(replace(coded(1), ids=[there[0]]))
    same(*indexes)


@pytest.mark.parametrize("bits", [16, 21, 64, 136])
def test_codes_of_any_length_come_back(vector_database: str, tmp_path: Path, bits: int) -> None:
    hasher = write_hasher(tmp_path / "hasher", bits=bits)
    rng = np.random.default_rng(bits)
    signs = rng.integers(0, 2, (300, bits))
    codes = np.packbits(signs, axis=1, bitorder="little")
    ids = [f"é {number}" for number in range(300)]
    labels = ["", "one", "one|two"] * 100
    durations = rng.random(300).astype(np.float32)
    identity = HasherIdentity("m", "1", hasher_digest(hasher))
    videos = CodedVideos(ids, codes, labels, ids, durations, whole_spans(durations), bits, identity)
    indexes: list[Index] = [IndexFolder(tmp_path / "index"), PostgresIndex(vector_database)]
    for index in indexes:
        with index.alone():
            index.replace(videos, hasher, EXACT, seed=1)
    same(*indexes)
    # In SQL, bit number i is bit i of the code.
    with psycopg.connect(vector_database) as connection:
        found = connection.execute(
            "SELECT code::text, labels FROM ssvh.videos WHERE id = %s", (ids[4],)
        ).fetchone()
    assert found == ("".join(map(str, signs[4])), ["one"])


@pytest.mark.slow
def test_who_knows_only_the_address_can_search(
    vector_database: str, tmp_path: Path, coded: Coded, hasher: Path
) -> None:
    folder, index = IndexFolder(tmp_path / "index"), PostgresIndex(vector_database)
    for one in (folder, index):
        with one.alone():
            one.replace(coded(40), hasher, EXACT, seed=1, card="# A card\n")
    program = f"""
import numpy as np
from ssvh_model.index.searcher import Searcher

searcher = Searcher({vector_database!r})
features = np.random.default_rng(1).normal(size=(3, 4, 6)).astype(np.float32)
print(searcher.nearest_to_features(features, 5), searcher.hasher, searcher.bits, searcher.videos, len(searcher))
"""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    features = np.random.default_rng(1).normal(size=(3, 4, 6)).astype(np.float32)
    searcher = Searcher(folder.folder)
    wanted = (searcher.nearest_to_features(features, 5), searcher.hasher, 16, 40, 40)
    assert done.stdout.strip() == " ".join(map(str, wanted))
    assert list(elsewhere.iterdir()) == []
    assert index.load(lambda _, copy: (copy / "model_card.md").read_text()) == "# A card\n"


def test_a_hasher_that_was_changed_is_refused(vector_database: str, coded: Coded, hasher: Path) -> None:
    with (index := PostgresIndex(vector_database)).alone():
        index.replace(coded(4), hasher, EXACT, seed=1)
    with psycopg.connect(vector_database) as connection:
        connection.execute(
            "UPDATE ssvh.hasher_files SET content = content || '\\x20' WHERE name = 'hasher.json'"
        )
    with pytest.raises(UserError, match="not the hasher that made the codes of this index"):
        Searcher(vector_database)


def test_answers_are_of_one_state_while_the_hasher_changes(
    vector_database: str, tmp_path: Path, coded: Coded, hasher: Path
) -> None:
    """Another hasher with codes of other bits; readers never see some of both, nor nothing."""
    wide = write_hasher(tmp_path / "wide", seed=3, bits=24)
    generations = [
        (coded(300, prefix="narrow"), hasher),
        (coded(300, prefix="wide", by=wide, bits=24), wide),
    ]
    index = PostgresIndex(vector_database)
    with index.alone():
        index.replace(*generations[0], EXACT, seed=1)
    searcher = Searcher(vector_database)
    features = np.random.default_rng(1).normal(size=(2, 4, 6)).astype(np.float32)
    ended, kinds = threading.Event(), set()
    wrong: list[object] = []

    def search() -> None:
        try:
            while not ended.is_set():
                for hits in searcher.nearest_to_features(features, 300):
                    found = {hit.id.partition("-")[0] for hit in hits}
                    kinds.update(found)
                    if len(found) != 1 or len(hits) != 300:
                        wrong.append((found, len(hits)))
        except Exception as error:
            wrong.append(error)

    reader = threading.Thread(target=search)
    reader.start()
    try:
        for turn in range(1, 13):
            with index.alone():
                index.replace(*generations[turn % 2], EXACT, seed=1)
        until = time.monotonic() + SECONDS
        while len(kinds) < 2 and not wrong and time.monotonic() < until:
            time.sleep(0.01)
    finally:
        ended.set()
        reader.join()
    assert wrong == [] and kinds == {"narrow", "wide"}
    assert {hit.id.partition("-")[0] for hit in searcher.nearest_to_features(features, 300)[0]} == {"narrow"}
    assert searcher.bits == 16 and searcher.hasher.sha256 == hasher_digest(hasher)
    with psycopg.connect(vector_database) as connection:
        tables = connection.execute(
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'ssvh' AND tablename LIKE 'videos_%'"
        )
        assert tables.fetchone() == (1,)
        assert connection.execute("SELECT count(*), max(length(code)) FROM ssvh.videos").fetchone() == (
            300,
            16,
        )


ADDER = """
import sys
import numpy as np
from pathlib import Path
from ssvh_model.errors import UserError
from ssvh_model.index.postgres import postgres_index
from ssvh_model.index.postgres.postgres_index import PostgresIndex

url, name = sys.argv[1:]
index = PostgresIndex(url)
like = index.snapshot(loaded=True).whole().rows([0])
from dataclasses import replace
print("ready", flush=True)
sys.stdin.readline()
for number in range(10):
    for video in (f"{name}-{number}", f"both-{number}"):
        try:
            index.add(replace(like, ids=[video]))
            print(video)
        except UserError as error:
            assert f"has a video {video!r} already" in str(error), error
"""


def start(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_of_two_that_add_at_once_nothing_is_lost(vector_database: str, coded: Coded, hasher: Path) -> None:
    with (index := PostgresIndex(vector_database)).alone():
        index.replace(coded(1), hasher, EXACT, seed=1)
    adders = [start(ADDER, vector_database, name) for name in ("one", "two")]
    for adder in adders:
        assert adder.stdout is not None and adder.stdout.readline() == "ready\n"
    added = []
    for adder in adders:
        assert adder.stdin is not None
        adder.stdin.write("go\n")
        adder.stdin.flush()
    for adder in adders:
        added += adder.communicate(timeout=SECONDS)[0].split()
        assert adder.returncode == 0
    wanted = [f"{name}-{number}" for name in ("both", "one", "two") for number in range(10)]
    assert sorted(added) == sorted(wanted)
    snapshot = index.snapshot(loaded=True)
    assert sorted(snapshot.ids()) == sorted([*wanted, "video-0"])
    assert (snapshot.videos, snapshot.pointer.changes) == (31, 30)


@pytest.mark.slow
def test_tables_that_others_need_stay_until_they_do_not(
    vector_database: str, coded: Coded, hasher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generations, "SECONDS_FOR_READERS", 1)
    index = PostgresIndex(vector_database)
    index.replace(coded(3), hasher, EXACT, seed=1)
    with psycopg.connect(vector_database, autocommit=True) as connection:

        def tables() -> list[str]:
            found = connection.execute(
                "SELECT tablename FROM pg_tables WHERE tablename LIKE 'videos\\_%' ORDER BY tablename"
            )
            return [name for (name,) in found]

        connection.execute("CREATE VIEW mine AS SELECT * FROM ssvh.videos_000001")
        with psycopg.connect(vector_database) as reader:
            assert reader.execute("SELECT count(*) FROM mine").fetchone() == (3,)
            index.replace(coded(4), hasher, EXACT, seed=1)
            index.remove(["video-0"])
            assert reader.execute("SELECT count(*) FROM mine").fetchone() == (3,)
        assert index.snapshot().videos == 3 and tables() == ["videos_000001", "videos_000002"]
        connection.execute("DROP VIEW mine")
        index.remove(["video-1"])
        assert tables() == ["videos_000002"]


@pytest.mark.slow
def test_who_reads_in_sql_is_waited_for_but_not_for_ever(
    vector_database: str, coded: Coded, hasher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generations, "SECONDS_FOR_READERS", 1)
    monkeypatch.setattr(generations, "SECONDS_BETWEEN_WAITS", 0.1)
    monkeypatch.setattr(generations, "WAITS_FOR_READERS", 1)
    index = PostgresIndex(vector_database)
    index.replace(coded(3), hasher, EXACT, seed=1)
    with psycopg.connect(vector_database) as reader:
        reader.execute("SELECT count(*) FROM ssvh.videos")
        with pytest.raises(UserError, match=r"reading ssvh\.videos in one transaction .* stays as it was$"):
            index.replace(coded(4), hasher, EXACT, seed=1)
        assert index.snapshot().videos == 3
        index.remove(["video-0"])  # changes of the same rows need not wait
        monkeypatch.setattr(generations, "WAITS_FOR_READERS", 1000)
        ending = threading.Timer(3, reader.rollback)
        ending.start()
        index.replace(coded(4), hasher, EXACT, seed=1)
        ending.join()
    assert index.snapshot().videos == 4


# It dies in its transaction, when the rows are written.
KILLED = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
from ssvh_model.index.postgres import postgres_index
from ssvh_model.index.settings import IndexSettings

url, hasher, what = sys.argv[1:]
index = postgres_index.PostgresIndex(url)
videos = index.snapshot(loaded=True).whole()
videos = replace(videos, ids=[f"new {video}" for video in videos.ids])

write_rows = postgres_index.write_rows

def write_and_die(*arguments):
    write_rows(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)

postgres_index.write_rows = write_and_die
if what == "add":
    index.add(videos)
else:
    index.replace(videos, Path(hasher), IndexSettings(1, 2, 1), seed=1, removed=["video-0"])
"""


@pytest.mark.parametrize("what", ["add", "replace"])
@pytest.mark.slow
def test_a_killed_writer_leaves_nothing(
    vector_database: str, tmp_path: Path, coded: Coded, hasher: Path, what: str
) -> None:
    folder, index = IndexFolder(tmp_path / "index"), PostgresIndex(vector_database)
    for one in (folder, index):
        with one.alone():
            one.replace(coded(200), hasher, EXACT, seed=1)
    version = index.version()
    killed = start(KILLED, vector_database, str(hasher), what)
    assert killed.wait(timeout=SECONDS) == -signal.SIGKILL
    assert killed.stdin is not None and killed.stdout is not None
    killed.stdin.close()
    killed.stdout.close()
    assert index.version() == version
    same(folder, index)
    # The server frees the lock by itself, and the next change meets nothing of the killed one.
    for one in (folder, index):
        with one.alone():
            one.add(replace(coded(200), ids=[f"new {video}" for video in coded(200).ids]))
    same(folder, index)
    with psycopg.connect(vector_database) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE tablename LIKE 'videos\\_%'")
        assert tables.fetchall() == [("videos_000001",)]


def test_who_must_wait_is_told_for_whom(vector_database: str, coded: Coded, hasher: Path) -> None:
    with (index := PostgresIndex(vector_database)).alone():
        index.replace(coded(3), hasher, EXACT, seed=1)
    said: list[str] = []
    waiting, done = threading.Event(), threading.Event()

    def say(line: str) -> None:
        said.append(line)
        waiting.set()

    def change() -> None:
        with (other := PostgresIndex(vector_database)).alone(say):
            other.remove(["video-1"])
        done.set()

    with index.alone():
        thread = threading.Thread(target=change)
        thread.start()
        assert waiting.wait(SECONDS)
        assert not done.is_set() and index.snapshot().videos == 3
    assert done.wait(SECONDS)
    thread.join()
    assert index.snapshot().videos == 2
    assert said == [
        f"{index.name}: ssvh, process {os.getpid()} on {os.uname().nodename} is changing this index; waiting until it is done"
    ]


@pytest.mark.parametrize("approximate", ["cells", "hnsw"])
def test_approximate_searches_find_nearly_all(vector_database: str, tmp_path: Path, approximate: str) -> None:
    hasher = write_hasher(tmp_path / "hasher", bits=64)
    rng = np.random.default_rng(1)
    kinds = rng.integers(0, 256, (50, 8), dtype=np.uint8)
    noise = np.packbits(rng.random((3000, 64)) < 0.12, axis=1)
    codes = kinds[rng.integers(0, 50, 3000)] ^ noise
    ids = [str(number) for number in range(3000)]
    labels = ["rare" if number % 100 == 0 else "frequent" for number in range(3000)]
    durations = np.ones(3000, dtype=np.float32)
    identity = HasherIdentity("m", "1", hasher_digest(hasher))
    videos = CodedVideos(ids, codes, labels, ids, durations, whole_spans(durations), 64, identity)
    settings = IndexSettings(1000, 16, 8, "hnsw" if approximate == "hnsw" else "cells", 200)
    with psycopg.connect(vector_database, autocommit=True) as connection:
        # So few rows are read one by one otherwise.
        name = connection.info.dbname
        connection.execute(f'ALTER DATABASE "{name}" SET enable_seqscan = off')
        connection.execute(f'ALTER DATABASE "{name}" SET enable_sort = off')
    with (index := PostgresIndex(vector_database)).alone():
        index.replace(videos, hasher, settings, seed=1)
    snapshot = index.snapshot()
    assert snapshot.search.startswith(
        "search in 8 of 16 cells" if approximate == "cells" else "search by HNSW"
    )
    queries = codes[:20] ^ np.packbits(rng.random((20, 64)) < 0.05, axis=1)
    exact = index.snapshot(loaded=True).nearest(queries, 100)[1]
    found = [[hit.distance for hit in hits] for hits in snapshot.hits(queries, 100, "video")]
    assert [len(distances) for distances in found] == [100] * 20
    assert all(distances == sorted(distances) for distances in found)
    recall = np.mean([np.mean(np.array(mine) <= true[-1]) for mine, true in zip(found, exact, strict=True)])
    assert recall > 0.8
    used = "SELECT sum(idx_scan) FROM pg_stat_user_indexes WHERE indexrelname LIKE '%code%'"
    with psycopg.connect(vector_database, autocommit=True) as connection:
        # The server counts what a connection has read when that ends, or a little later.
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'ssvh%'"
        )
        until = time.monotonic() + SECONDS
        while connection.execute(used).fetchone() == (0,):
            assert time.monotonic() < until
            time.sleep(0.1)
        # With a filter, the scan goes on until there are enough.
        connection.execute("SET hnsw.iterative_scan = strict_order")
        connection.execute("SET ivfflat.iterative_scan = relaxed_order")
        filtered = connection.execute(
            "SELECT id FROM ssvh.videos WHERE 'rare' = ANY(labels) ORDER BY code <~> (SELECT code FROM ssvh.videos WHERE id = '7') LIMIT 12"
        ).fetchall()
        assert len(filtered) == 12 and all(int(video) % 100 == 0 for (video,) in filtered)


def test_a_searcher_outlives_its_server(vector_server: PostgreSQL, coded: Coded, hasher: Path) -> None:
    url = vector_server.create("restarted").replace("+psycopg", "")
    with (index := PostgresIndex(url)).alone():
        index.replace(coded(9), hasher, EXACT, seed=1)
    searcher = Searcher(url)
    query = coded(9).codes[[2]]
    before = searcher.nearest_to_codes(query, 3)
    vector_server.stop()
    with pytest.raises(
        UserError,
        match=rf"^postgresql://postgres@127\.0\.0\.1:{vector_server.port}/restarted: can't be reached",
    ):
        searcher.nearest_to_codes(query, 3)
    vector_server.start()
    assert searcher.nearest_to_codes(query, 3) == before
    vector_server.stop()
    vector_server.start()  # without a question in between
    assert searcher.nearest_to_codes(query, 3) == before


def test_features_of_added_videos_are_kept_until_their_video_goes(
    vector_database: str, tmp_path: Path, coded: Coded, hasher: Path
) -> None:
    with (index := PostgresIndex(vector_database)).alone():
        index.replace(coded(2), hasher, EXACT, seed=1)
    for number in range(2):
        ids = [f"{number}-a", f"{number}-b"]

        def keep(next_path: Callable[[], Path], ids: Sequence[str] = ids) -> None:
            write_feature_file(
                next_path(),
                np.zeros((2, 4, 6), dtype=np.float32),
                ids=ids,
                labels=[("label",)] * 2,
                splits=["database"] * 2,
                meta=META,
                sha256=[f"digest of {video}" for video in ids],
            )

        index.add(replace(coded(2), ids=ids), keep)
    assert index.known(["0-b", "video-0"])["0-b"].sha256 == "digest of 0-b"
    assert index.known(["video-0"])["video-0"].sha256 is None
    assert [path.name for path in index.kept_features()] == ["000001.h5", "000002.h5"]
    index.remove(["0-a"])
    assert len(index.kept_features()) == 2
    index.remove(["0-b"])
    (path,) = index.kept_features()
    written = tmp_path / "same.h5"
    keep(lambda: written)
    assert path.read_bytes() == written.read_bytes()
    with index.alone():
        index.replace(coded(2), hasher, EXACT, seed=1)
        assert len(index.kept_features()) == 1
        index.replace(coded(2), hasher, EXACT, seed=1, keep_features=False)
    assert index.kept_features() == []
