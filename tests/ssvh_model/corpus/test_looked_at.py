"""Notes on videos of a bucket: what has not changed is not looked into again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ssvh_model.corpus.folder import look_into
from ssvh_model.corpus.looked_at import LookedAt
from ssvh_model.manifest import Video
from ssvh_model.progress import no_progress
from ssvh_model.video.places import RemotePlace, place_of
from tests.ssvh_model.video.odd_videos import video_maker

SEEN = Video("a", "a.mp4", labels=("cat",), frames=7, duration=0.7, sha256="5" * 64, reason="truncated")


def test_what_was_found_is_known_until_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "notes/looked-at.jsonl"
    notes = LookedAt(path, {"a.mp4": "first"})
    assert notes.noted(SEEN) is None
    assert notes.note(SEEN) is SEEN
    again = LookedAt(path, {"a.mp4": "first"})
    # Labels are those of now.
    other = Video("a", "a.mp4", labels=("dog",))
    found = again.noted(other)
    assert found is not None and (found.labels, found.frames, found.sha256) == (("dog",), 7, "5" * 64)
    assert found.reason == "truncated" and found.usable
    assert LookedAt(path, {"a.mp4": "second"}).noted(SEEN) is None
    assert LookedAt(path, {}).noted(SEEN) is None


def test_a_video_that_could_not_be_read_is_looked_into_again(tmp_path: Path) -> None:
    path = tmp_path / "looked-at.jsonl"
    LookedAt(path, {"a.mp4": "first"}).note(Video("a", "a.mp4").left_out("missing"))
    assert not path.exists()


def test_a_line_that_was_cut_off_loses_one_video(tmp_path: Path) -> None:
    path = tmp_path / "looked-at.jsonl"
    stamps = {"a.mp4": "1", "b.mp4": "1", "c.mp4": "1"}
    notes = LookedAt(path, stamps)
    notes.note(SEEN)
    notes.note(Video("b", "b.mp4", sha256="6" * 64))
    path.write_bytes(path.read_bytes()[:-9])
    LookedAt(path, stamps).note(Video("c", "c.mp4", sha256="7" * 64))
    last = LookedAt(path, stamps)
    known = [last.noted(Video(name, f"{name}.mp4")) is not None for name in "abc"]
    assert known == [True, False, True]


def test_a_scan_that_was_interrupted_goes_on(tmp_path: Path) -> None:
    make = video_maker(tmp_path / "films")
    for number in range(3):
        make(f"{number}.mp4", frames=5 + number)
    videos = [Video(str(number), f"{number}.mp4") for number in range(3)]
    path = tmp_path / "looked-at.jsonl"

    def place_and_notes() -> tuple[RemotePlace, LookedAt]:
        place = place_of(f"file://{tmp_path}/films")
        assert isinstance(place, RemotePlace)
        return place, LookedAt(path, place.folder.stamps)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    place, notes = place_and_notes()
    with pytest.raises(KeyboardInterrupt):
        look_into(place, videos, 1, interrupt, notes)
    place, notes = place_and_notes()
    known = [video for video in videos if notes.noted(video)]
    assert known
    for video in known:  # would be no video any more, if it were looked into
        file = tmp_path / "films" / video.path
        times, content = os.stat(file), file.read_bytes()
        file.write_bytes(b"x" * len(content))
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    place, notes = place_and_notes()
    assert [video.frames for video in look_into(place, videos, 1, no_progress, notes)] == [5, 6, 7]
