"""Copies of videos from elsewhere: each is made once, and all together stay within their room."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ssvh_model.errors import UserError
from tasks.serving.fetched import MEGABYTE, FetchedVideos
from tasks.serving.problems import NO_ROOM, Problem


@pytest.fixture
def fetched() -> Iterator[FetchedVideos]:
    videos = FetchedVideos(1)
    yield videos
    videos.close()


def elsewhere(folder: Path, name: str, size: int = 400_000) -> str:
    """The address of a file, as fsspec has it."""
    (folder / name).write_bytes(name[:1].encode() * size)
    return f"file://{folder}/{name}"


def test_those_asked_for_last_stay_and_those_in_use_are_not_dropped(
    fetched: FetchedVideos, tmp_path: Path
) -> None:
    addresses = [elsewhere(tmp_path, name) for name in ("a", "b", "c")]
    paths = []
    for address in (*addresses[:2], addresses[0], addresses[2]):
        with fetched.opened(address) as path:
            assert path.read_bytes() == address[-1:].encode() * 400_000
            paths.append(path)
    a, b, again, c = paths
    assert a == again and a.exists() and c.exists() and not b.exists()
    with ExitStack() as opened:
        for address in (addresses[0], addresses[2]):
            opened.enter_context(fetched.opened(address))
        with pytest.raises(Problem) as full, fetched.opened(addresses[1]):
            pass
        assert full.value.kind is NO_ROOM and full.value.retry_after
        assert a.exists() and c.exists()
    with fetched.opened(addresses[1]) as path:
        assert sum(file.stat().st_size for file in path.parent.iterdir()) <= MEGABYTE


def test_one_that_many_ask_for_is_fetched_once_and_a_changed_one_again(
    fetched: FetchedVideos, tmp_path: Path
) -> None:
    address = elsewhere(tmp_path, "many")
    made: list[tuple[Path, int]] = []

    def look() -> None:
        with fetched.opened(address) as path:
            made.append((path, path.stat().st_mtime_ns))

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8 and len(set(made)) == 1
    elsewhere(tmp_path, "many", size=300_000)
    look()
    assert made[-1][0] != made[0][0] and made[-1][0].stat().st_size == 300_000


def test_what_is_not_there_or_too_large_leaves_no_copy(fetched: FetchedVideos, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), fetched.opened(f"file://{tmp_path}/gone"):
        pass
    with pytest.raises(FileNotFoundError), fetched.opened(f"file://{tmp_path}"):
        pass
    with pytest.raises(UserError), fetched.opened("nowhere://bucket/video"):
        pass
    large = elsewhere(tmp_path, "large", size=1_000_001)
    with pytest.raises(Problem, match="--fetched-megabytes"), fetched.opened(large):
        pass
    with fetched.opened(elsewhere(tmp_path, "small")) as path:
        assert len(list(path.parent.iterdir())) == 1
