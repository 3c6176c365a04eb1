"""Adding, removing and replacing, against a list of videos that is searched naively."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssvh_model.errors import UserError
from ssvh_model.index import index_folder
from ssvh_model.index.coded_videos import CodedVideos, HasherIdentity, whole_spans
from ssvh_model.index.index_folder import IndexFolder, IndexSettings
from ssvh_model.index.searcher import Searcher
from ssvh_model.index.snapshot import POINTER, Pointer, open_snapshot
from ssvh_model.model.hasher_file import hasher_digest
from tests.conftest import REPOSITORY
from tests.hashers import write_hasher

EXACT = IndexSettings(exact_up_to=10**6, cells=8, probes=4)
Coded = Callable[..., CodedVideos]


def made(folder: Path, videos: CodedVideos, hasher: Path, how: IndexSettings = EXACT) -> IndexFolder:
    index = IndexFolder(folder)
    with index.alone():
        index.replace(videos, hasher, how, seed=1)
    return index


def naive_search(videos: dict[str, bytes], query: bytes, count: int) -> list[tuple[str, int]]:
    """The nearest of a plain dictionary, equally near ones in its order."""
    distances = [
        (video, sum((a ^ b).bit_count() for a, b in zip(code, query, strict=True)))
        for video, code in videos.items()
    ]
    return sorted(distances, key=lambda one: one[1])[:count]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(st.integers(0, 2**16 - 1), min_size=1, max_size=5)),
        st.tuples(st.just("remove"), st.lists(st.integers(0, 10**6), min_size=1, max_size=4)),
        st.tuples(st.just("replace"), st.lists(st.integers(0, 2**16 - 1), max_size=12)),
    ),
    max_size=8,
)


@settings(max_examples=30)
@given(
    start=st.lists(st.integers(0, 2**16 - 1), max_size=12), steps=steps, at_once=st.sampled_from([2, 10_000])
)
@pytest.mark.slow
def test_any_changes_leave_what_a_plain_dictionary_holds(
    start: list[int], steps: list[tuple[str, list[int]]], at_once: int
) -> None:
    names = (f"video-{number}" for number in itertools.count())
    with tempfile.TemporaryDirectory() as temporary, pytest.MonkeyPatch.context() as patch:
        # Two changes are then enough for a new generation.
        patch.setattr(index_folder, "CHANGES_AT_ONCE", at_once)
        patch.setattr(os, "fsync", lambda _: None)  # nothing is to be learnt from a disk that is waited for
        root = Path(temporary)
        identity = HasherIdentity("m", "1", hasher_digest(write_hasher(root / "hasher")))

        def videos(codes: list[int]) -> CodedVideos:
            ids = [next(names) for _ in codes]
            packed = np.array(codes, dtype="<u2").view(np.uint8).reshape(-1, 2)
            seconds = np.ones(len(ids), np.float32)
            return CodedVideos(ids, packed, ids, ids, seconds, whole_spans(seconds), 16, identity)

        content = videos(start)
        index = made(root / "index", content, root / "hasher")
        searcher = Searcher(root / "index")
        plain = {video: code.tobytes() for video, code in zip(content.ids, content.codes, strict=True)}
        out: set[str] = set()
        for what, values in steps:
            if what == "remove":
                gone = list(dict.fromkeys(list(plain)[value % len(plain)] for value in values if plain))
                with index.alone():
                    index.remove(gone)
                for video in gone:
                    del plain[video]
                out.update(gone)
                continue
            content = videos(values)
            new = {video: code.tobytes() for video, code in zip(content.ids, content.codes, strict=True)}
            with index.alone():
                if what == "add":
                    index.add(content)
                else:
                    index.replace(content, root / "hasher", EXACT, seed=1)
            plain, out = ({**plain, **new}, out) if what == "add" else (new, set())
        assert len(searcher) == len(plain)
        assert open_snapshot(root / "index").ids() == list(plain)
        assert open_snapshot(root / "index").removed_ids() == out
        for query in (b"\x00\x00", b"\x0f\xf0", b"\xab\xcd"):
            hits = searcher.nearest_to_codes(np.frombuffer(query, np.uint8)[None], 5)[0]
            assert [(hit.id, hit.distance) for hit in hits] == naive_search(plain, query, 5)
            assert all(hit.label == hit.path == hit.id for hit in hits)


def test_what_is_there_is_not_written_again(tmp_path: Path, coded: Coded, hasher: Path) -> None:
    index = made(tmp_path / "index", coded(50), hasher)
    codes = index.folder / Pointer.read(index.folder).generation / "codes.h5"
    before = codes.stat()
    with index.alone():
        index.add(coded(3, seed=1, prefix="new"))
        index.remove(["video-4", "new-0"])
    assert (codes.stat().st_ino, codes.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    snapshot = open_snapshot(index.folder)
    assert len(snapshot) == 51 and snapshot.removed_ids() == {"video-4", "new-0"}
    assert [path.name for path in sorted(codes.parent.glob("changes-*"))] == ["changes-000002.h5"]


def test_removed_videos_are_remembered_over_generations(
    tmp_path: Path, coded: Coded, hasher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_folder, "CHANGES_AT_ONCE", 1)
    index = made(tmp_path / "index", coded(5), hasher)
    for video in ("video-1", "video-3"):
        with index.alone():
            index.remove([video])
    snapshot = open_snapshot(index.folder)
    assert snapshot.pointer.generation == "000002"
    assert snapshot.removed_ids() == {"video-1", "video-3"}
    with index.alone():
        index.add(coded(5).rows([3]))
    assert open_snapshot(index.folder).removed_ids() == {"video-1"}


def test_codes_of_another_hasher_are_refused(
    tmp_path: Path, coded: Coded, hasher: Path, other_hasher: Path
) -> None:
    index = made(tmp_path / "index", coded(5), hasher)
    with index.alone(), pytest.raises(UserError, match="codes of different hashers can't be compared"):
        index.add(coded(1, prefix="new", by=other_hasher))
    copy = tmp_path / "index/000001/hasher"
    for path in other_hasher.iterdir():
        shutil.copy(path, copy)
    with pytest.raises(UserError, match="not the hasher that made the codes of this index"):
        Searcher(index.folder)


def test_each_generation_has_the_image_model_that_the_hasher_has(
    tmp_path: Path, coded: Coded, hasher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_folder, "CHANGES_AT_ONCE", 0)  # each change makes a generation
    (hasher / "backbone.onnx").write_bytes(b"network")
    index = made(tmp_path / "index", coded(5), hasher)
    with index.alone():
        index.remove(["video-0", "video-1"])
    assert Pointer.read(index.folder).generation == "000002"
    assert (index.folder / "000002/hasher/backbone.onnx").read_bytes() == b"network"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda index, coded: index.add(coded(1)), "has a video 'video-0' already"),
        (lambda index, coded: index.remove(["video-9"]), "has no video 'video-9'"),
        (lambda index, coded: index.remove(["video-1", "x"]), "has no video 'x'"),
    ],
)
def test_impossible_changes_change_nothing(
    tmp_path: Path, coded: Coded, hasher: Path, change: Callable[..., None], message: str
) -> None:
    index = made(tmp_path / "index", coded(5), hasher)
    with index.alone(), pytest.raises(UserError, match=message):
        change(index, coded)
    assert Pointer.read(index.folder) == Pointer("000001", 0)
    assert open_snapshot(index.folder).ids() == [f"video-{number}" for number in range(5)]


def test_a_writer_that_is_killed_leaves_the_index_as_it_was(
    tmp_path: Path, coded: Coded, hasher: Path
) -> None:
    index = made(tmp_path / "index", coded(5), hasher)
    # What is there of a new generation and of new changes before the pointer names them.
    shutil.copytree(index.folder / "000001", index.folder / ".000002.tmp")
    shutil.copytree(index.folder / "000001", index.folder / "000002")
    (index.folder / "000001/changes-000001.h5").write_bytes(b"half")
    for half in ("000001/.changes-000001.h5.x9.tmp/changes-000001.h5", ".current.json.x9.tmp/current.json"):
        (index.folder / half).parent.mkdir()
        (index.folder / half).write_bytes(b"half")
    assert len(open_snapshot(index.folder)) == 5
    with index.alone():
        index.remove(["video-0"])
    assert len(open_snapshot(index.folder)) == 4
    assert {path.name for path in index.folder.rglob("*") if "changes" in path.name} == {"changes-000001.h5"}
    with index.alone():
        index.replace(coded(7), hasher, EXACT, seed=1)
    assert len(open_snapshot(index.folder)) == 7
    left = {path.name for path in index.folder.iterdir()}
    assert left == {POINTER, "lock", Pointer.read(index.folder).generation}


READER = """
import sys
from pathlib import Path
import numpy as np
from ssvh_model.index.searcher import Searcher
from ssvh_model.index.snapshot import HASHER, open_snapshot

folder, seen = Path(sys.argv[1]), Path(sys.argv[2])
searcher = Searcher(folder)
print("ready", flush=True)
answers, versions = 0, set()
while not (folder.parent / "stop").exists():
    hits = searcher.nearest_to_codes(np.zeros((1, 2), np.uint8), 20)[0]
    found = {hit.label for hit in hits}
    assert len(found) == 1, f"codes of {found} in one answer"
    version = found.pop()
    assert searcher.hasher.version == version, "the hasher is that of the codes"
    answers += 1
    versions.add(version)
    if answers % 5 == 0:  # as a process that starts only now
        snapshot = open_snapshot(folder)
        assert {snapshot.text("labels", row) for row in range(len(snapshot))} == {snapshot.hasher.version}
    if answers >= 20 and len(versions) >= 5:
        seen.touch()
"""


def test_every_answer_is_wholly_from_one_version_while_the_index_is_replaced(
    tmp_path: Path, coded: Coded, hasher: Path, other_hasher: Path
) -> None:
    def version(number: int) -> tuple[CodedVideos, Path]:
        by = (hasher, other_hasher)[number % 2]
        videos = coded(20 + number % 7, seed=number, by=by)
        identity = replace(videos.hasher, version=str(number))
        return replace(videos, labels=[str(number)] * len(videos), hasher=identity), by

    index = made(tmp_path / "index", *version(0))
    enough = [tmp_path / f"reader-{number}" for number in range(2)]
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", READER, str(index.folder), str(seen)],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seen in enough
    ]
    try:
        for reader in readers:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "ready\n"
        deadline, number = time.monotonic() + 100, 0
        while not all(seen.exists() for seen in enough) and time.monotonic() < deadline:
            number += 1
            with index.alone():
                index.replace(*version(number), EXACT, seed=1)
            if any(reader.poll() is not None for reader in readers):
                break
    finally:
        (tmp_path / "stop").touch()
        outputs = [reader.communicate(timeout=60)[0] for reader in readers]
    assert [reader.returncode for reader in readers] == [0, 0], outputs
    assert all(seen.exists() for seen in enough), "they did read while the index was replaced"


HOLDER = """
import sys, time
from pathlib import Path
from ssvh_model.index.index_folder import IndexFolder
with IndexFolder(Path(sys.argv[1])).alone():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("killed", [False, True])
def test_who_waits_for_another_process_says_for_whom(
    tmp_path: Path, coded: Coded, hasher: Path, killed: bool
) -> None:
    index = made(tmp_path / "index", coded(3), hasher)
    lines: list[str] = []
    with index.alone(lines.append):
        assert lines == [], "nobody holds it"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(index.folder)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None and holder.stdin is not None
    assert holder.stdout.readline() == "held\n"

    def free(line: str) -> None:
        lines.append(line)
        assert holder.poll() is None, "it is there while it is waited for"
        holder.kill() if killed else holder.stdin.close()

    with index.alone(free):
        index.remove(["video-0"])
    assert lines == [f"{index.folder}: process {holder.pid} is changing this index; waiting until it is done"]
    assert holder.wait(timeout=120) == (-signal.SIGKILL if killed else 0)
    assert open_snapshot(index.folder).ids() == ["video-1", "video-2"]


@pytest.mark.slow
def test_changes_of_two_processes_wait_for_each_other(tmp_path: Path, coded: Coded, hasher: Path) -> None:
    index = made(tmp_path / "index", coded(1), hasher)
    program = """
import sys
from pathlib import Path
import numpy as np
from dataclasses import replace
from ssvh_model.index.index_folder import IndexFolder
from ssvh_model.index.snapshot import open_snapshot
index, name = IndexFolder(Path(sys.argv[1])), sys.argv[2]
one = open_snapshot(index.folder).whole().rows([0])
for number in range(8):
    with index.alone():
        index.add(replace(one, ids=[f"{name}-{number}"]))
"""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(index.folder), name],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
        for name in "ab"
    ]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    ids = open_snapshot(index.folder).ids()
    assert len(ids) == 17
    assert [video for video in ids if video.startswith("a")] == [f"a-{number}" for number in range(8)]
