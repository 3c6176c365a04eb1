"""What DVC can't read in the folder of the videos is said before it tries."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from ssvh_model.errors import UserError
from tasks.extraction.local_videos import check_local_videos


@pytest.fixture
def videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of videos, in the present project."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("corpus:\n  path: videos\n")
    folder = Path("videos")
    (folder / "cats").mkdir(parents=True)
    (folder / "cats" / "a.mp4").write_bytes(b"content")
    return folder


def bind(path: Path) -> None:
    socket.socket(socket.AF_UNIX).bind(str(path))


@pytest.mark.parametrize(
    ("name", "make", "what"),
    [
        ("cats/b.mp4", lambda path: path.symlink_to("/nowhere/b.mp4"), "a link that leads nowhere"),
        (".#labels.csv", lambda path: path.symlink_to("me@here.123"), "a link that leads nowhere"),
        ("loop.mp4", lambda path: path.symlink_to("loop.mp4"), "a link that leads nowhere"),
        ("cats/pipe.mp4", os.mkfifo, "a pipe"),
        ("socket", bind, "no regular file"),
        (os.fsdecode(b"\xff.mp4"), Path.touch, "a file whose name is not in UTF-8"),
    ],
)
def test_what_dvc_can_t_read_is_named(
    videos: Path, name: str, make: Callable[[Path], None], what: str
) -> None:
    make(videos / name)
    with pytest.raises(UserError, match=f"^params.yaml: corpus.path: videos/.* is {what}; DVC") as raised:
        check_local_videos()
    str(raised.value).encode()  # can be printed


def test_how_many_more_there_are_is_said(videos: Path) -> None:
    for name in ("b", "c", "d"):
        (videos / name).symlink_to("nowhere")
    with pytest.raises(UserError, match=r"videos/b is a link that leads nowhere \(2 more like it\); DVC"):
        check_local_videos()


def test_files_and_links_to_files_and_folders_are_read(videos: Path, tmp_path: Path) -> None:
    (videos / "same.mp4").symlink_to("cats/a.mp4")
    (videos / "round").symlink_to(".")
    check_local_videos()
    Path("params.yaml").write_text("corpus:\n  path: not there\n")
    check_local_videos()
