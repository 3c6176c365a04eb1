"""Videos of several folders whose files have the same names."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssvh_model.manifest import Video
from ssvh_model.progress import no_progress
from tasks.index.free_ids import longer_ids, with_free_ids
from tasks.index.given_videos import find_given_videos
from tasks.params.load import load_params
from tests.conftest import REPOSITORY
from tests.ssvh_model.video.odd_videos import video_maker


@pytest.mark.parametrize(
    ("video", "path", "ids"),
    [
        ("x", "a/b/x.mp4", ["x", "b/x", "a/b/x"]),
        ("b/x", "a/b/x.mp4", ["b/x", "a/b/x"]),
        ("b/x.mp4", "a/b/x.mp4", ["b/x.mp4", "a/b/x.mp4"]),
        ("x", "x.mp4", ["x"]),
        ("linked", "a/b/x.mp4", ["linked", "b/linked", "a/b/linked"]),
    ],
)
def test_an_id_grows_by_the_folders_of_its_file(video: str, path: str, ids: list[str]) -> None:
    assert list(longer_ids(Video(video, path))) == ids


def test_a_longer_id_may_be_taken_too() -> None:
    given = [Video("b/x", "a/b/x.mp4"), Video("x", "c/x.mp4"), Video("x", "d/b/x.mp4"), Video("x", "x.mp4")]
    assert [video.id for video in with_free_ids(given, None)] == ["b/x", "x", "d/b/x", "x"]


def test_a_file_that_is_given_twice_is_one_video(tmp_path: Path) -> None:
    make = video_maker(tmp_path)
    for year in ("2023", "2024"):
        make(f"{year}/night.mp4")
    given = [tmp_path / name for name in ("2023", "2024", "2023/night.mp4", "2024/../2023")]
    params = load_params(REPOSITORY / "params.yaml")
    found = find_given_videos(given, params, label=None, progress=no_progress)
    assert [(video.id, Path(video.path).parent.name) for video in found] == [
        ("night", "2023"),
        ("2024/night", "2024"),
    ]
