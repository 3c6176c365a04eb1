"""What is new in a folder, and whether that is a reason to train again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ssvh_model.errors import UserError
from ssvh_model.files import sha256_of
from ssvh_model.manifest import Video, write_manifest
from ssvh_model.retrieval.drift import Drift
from tasks import paths
from tasks.extraction.new_videos import NewVideos, decide, find_new_videos
from tasks.params.changes import with_changes
from tasks.params.load import load_params
from tasks.params.sections import Params
from tests.ssvh_model.video.odd_videos import video_maker

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """Of a project whose last run knew two videos of its folder, a.mp4 and b.mp4."""
    monkeypatch.chdir(tmp_path)
    make = video_maker(tmp_path / "videos")
    videos = []
    for number, name in enumerate("ab"):
        path = make(f"{name}.mp4", frames=6 + number)
        videos.append(
            Video(id=name, path=path.name, split="train", frames=6 + number, sha256=sha256_of(path))
        )
    (tmp_path / paths.FEATURES).mkdir(parents=True)
    write_manifest(tmp_path / paths.FEATURES_MANIFEST, videos)
    changes = {"corpus.source": "folder", "watch.settle": 0.0, "running.workers": 1}
    return with_changes(load_params(ROOT / "params.yaml"), changes, where="test")


def new(params: Params) -> NewVideos:
    return find_new_videos(params, print)


def test_new_changed_renamed_copied_and_gone_files(params: Params) -> None:
    make = video_maker(Path("videos"))
    assert new(params) == NewVideos((), 2, 0)
    make("cats/c.mp4", frames=9)
    Path("videos/broken.mp4").write_text("no video")
    found = new(params)
    assert [(video.path, video.usable) for video in found.videos] == [
        ("broken.mp4", False),
        ("cats/c.mp4", True),
    ]
    assert found.videos[1].frames == 9 and found.share == pytest.approx(1 / 3)

    # A file with another name but the same content is not new; one with the same name and another content is.
    os.rename("videos/b.mp4", "videos/renamed.mp4")
    make("a.mp4", frames=12)
    os.link("videos/cats/c.mp4", "videos/copy.mp4")
    found = new(params)
    assert sorted(video.path for video in found.usable) == ["a.mp4", "cats/c.mp4"]
    assert found.gone == 1, "b.mp4, by its path"


def test_a_file_that_is_still_being_written_waits(params: Params) -> None:
    path = video_maker(Path("videos"))("c.mp4", frames=9)
    patient = with_changes(params, {"watch.settle": 60.0}, where="test")
    assert new(patient).videos == ()
    os.utime(path, (os.stat(path).st_atime, os.stat(path).st_mtime - 61))
    assert [video.path for video in new(patient).videos] == ["c.mp4"]


def test_only_what_has_changed_since_the_last_look_is_read(params: Params) -> None:
    path = video_maker(Path("videos"))("c.mp4", frames=9)
    before = new(params)
    times, content = os.stat(path), path.read_bytes()
    path.write_bytes(b"x" * len(content))  # would be no video any more, if it were read
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert new(params) == before
    os.utime(path)
    assert [video.usable for video in new(params).videos] == [False]


def test_only_a_folder_can_be_watched(params: Params) -> None:
    with pytest.raises(UserError, match=r"corpus.source is arcade; allowed is folder"):
        new(with_changes(params, {"corpus.source": "arcade"}, where="test"))
    with pytest.raises(UserError, match=r"corpus.path is elsewhere, which is not a folder"):
        new(with_changes(params, {"corpus.path": "elsewhere"}, where="test"))


@pytest.mark.parametrize(
    ("count", "drift", "retrain", "reason"),
    [
        (9, None, False, "9 new of 109 videos, 8.3%"),
        (12, None, True, "12 new of 112 videos, 10.7%; watch.retrain_share is 10.0%"),
        (9, Drift(0.1, 0.5, 0.3, 9), False, "of the same kind"),
        (9, Drift(0.2, 0.5, 0.3, 9), True, "bit shift 0.200; watch.bit_shift is 0.15"),
        (9, Drift(0.1, 0.9, 0.3, 9), True, "90.0% unseen codes, 30.0% of known videos"),
    ],
)
def test_the_decision(params: Params, count: int, drift: Drift | None, retrain: bool, reason: str) -> None:
    videos = tuple(Video(id=str(number), path=f"{number}.mp4") for number in range(count))
    decision = decide(params, NewVideos(videos, known=100, gone=0), drift)
    assert decision.retrain is retrain and reason in decision.reason
