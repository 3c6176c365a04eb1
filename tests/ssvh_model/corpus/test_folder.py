from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ssvh_model.corpus.folder import FolderColumns, scan_folder
from ssvh_model.errors import UserError
from ssvh_model.files import sha256_of
from ssvh_model.manifest import Video, read_manifest, write_manifest
from ssvh_model.progress import no_progress
from ssvh_model.video.encoding import write_video
from ssvh_model.video.places import LocalPlace

FILE_AND_LABEL = FolderColumns(file="file", label="label", fine_label=None, group=None, split=None)


def add_video(path: Path, frames: int = 4) -> Path:
    write_video(path, np.full((frames, 16, 16, 3), 90, dtype=np.uint8), rate=Fraction(10), quality=20)
    return path


def scan(
    root: Path, labels_csv: str | None = None, columns: FolderColumns = FILE_AND_LABEL
) -> dict[str, Video]:
    place = LocalPlace(root)
    videos = scan_folder(place, labels_csv=labels_csv, columns=columns, workers=2, progress=no_progress)
    assert [video.path for video in videos] == sorted(video.path for video in videos)
    assert len({video.id for video in videos}) == len(videos)
    write_manifest(root / ".manifest.csv", videos)
    again = read_manifest(root / ".manifest.csv")  # every row must be one that the later stages accept
    assert [video.id for video in again] == [video.id for video in videos]
    return {video.path: video for video in videos}


def test_folders_are_labels(tmp_path: Path) -> None:
    add_video(tmp_path / "cats" / "a.mp4", frames=7)
    add_video(tmp_path / "dogs" / "deep" / "a.MP4".lower())
    add_video(tmp_path / "alone.mp4")
    add_video(tmp_path / ".hidden" / "b.mp4")
    add_video(tmp_path / "cats" / ".b.mp4")
    (tmp_path / "cats" / "notes.txt").write_text("no video")
    videos = scan(tmp_path)
    assert {path: video.labels for path, video in videos.items()} == {
        "alone.mp4": (),
        "cats/a.mp4": ("cats",),
        "dogs/deep/a.mp4": ("dogs",),
    }
    seen = videos["cats/a.mp4"]
    assert (seen.id, seen.frames, seen.usable, seen.split) == ("cats/a", 7, True, "")
    assert seen.duration == pytest.approx(0.7)
    assert seen.sha256 == sha256_of(tmp_path / "cats" / "a.mp4")


def test_ids_stay_unique_when_only_the_extension_differs(tmp_path: Path) -> None:
    source = add_video(tmp_path / "a.mp4")
    for name in ("a.mov", "a.mov.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(source.read_bytes())
    assert {path: video.id for path, video in scan(tmp_path).items()} == {
        "a.mov": "a.mov",
        "a.mov.mp4": "a.mov.mp4",
        "a.mp4": "a.mp4",
        "b.mp4": "b",
    }


def test_unreadable_files_are_left_out_with_the_reason(tmp_path: Path) -> None:
    good = add_video(tmp_path / "good.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(good[: len(good) // 3])
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("text" * 99)
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "nowhere.mp4").symlink_to(tmp_path / "not there.mp4")
    videos = scan(tmp_path)
    assert videos["good.mp4"].usable
    reasons = {path: video.reason for path, video in videos.items() if not video.usable}
    expected = {
        "cut.mp4": "damaged",
        "empty.mp4": "empty",
        "text.mp4": "not a video",
        "pipe.mp4": "not a regular file",
        "nowhere.mp4": "missing",
    }
    assert set(reasons) == set(expected)
    for path, part in expected.items():
        assert part in reasons[path]


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    outside = add_video(tmp_path / "outside.mp4")
    root = tmp_path / "root"
    add_video(root / "inside.mp4")
    (root / "link.mp4").symlink_to(outside)
    (root / "own.mp4").symlink_to(root / "inside.mp4")
    videos = scan(root)
    assert "leads out" in videos["link.mp4"].reason and not videos["link.mp4"].usable
    assert videos["own.mp4"].usable and videos["inside.mp4"].usable


def test_a_link_to_itself_is_left_out_and_the_others_are_read(tmp_path: Path) -> None:
    add_video(tmp_path / "good.mp4")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    videos = scan(tmp_path)
    assert videos["good.mp4"].usable and not videos["loop.mp4"].usable
    assert videos["loop.mp4"].reason == "missing: a link that leads nowhere"


def test_a_csv_gives_labels_groups_and_splits(tmp_path: Path) -> None:
    for name in ("a.mp4", "clips/b.mp4", "clips/deep/c.mp4", "clips/d.mp4", "unnamed.mp4"):
        add_video(tmp_path / name)
    (tmp_path / "lists").mkdir()
    add_video(tmp_path / "lists" / "e.mp4")
    (tmp_path / "lists" / "labels.csv").write_text(
        "file,label,kind,recording,part\n"
        "a.mp4,cat|pet,tabby,r1,train\n"
        "clips/b.mp4, dog ,,r1,\n"
        "c.mp4,cat,,,query\n"
        "d,,,,\n"
        "e.mp4,bird,,,\n"
        ",,,,\n",
        encoding="utf-8-sig",
    )
    videos = scan(
        tmp_path,
        "lists/labels.csv",
        FolderColumns(file="file", label="label", fine_label="kind", group="recording", split="part"),
    )
    got = {path: (v.labels, v.fine_labels, v.group, v.split) for path, v in videos.items()}
    assert got == {
        "a.mp4": (("cat", "pet"), ("tabby",), "r1", "train"),
        "clips/b.mp4": (("dog",), (), "r1", ""),
        "clips/d.mp4": ((), (), "", ""),
        "clips/deep/c.mp4": (("cat",), (), "", "query"),
        "lists/e.mp4": (("bird",), (), "", ""),
        "unnamed.mp4": ((), (), "", ""),  # not the folder's name: with a CSV only its lines are labels
    }
    assert all(video.usable for video in videos.values())


def test_lines_without_a_usable_file_are_left_out(tmp_path: Path) -> None:
    root = tmp_path / "root"
    add_video(tmp_path / "secret.mp4")
    for name in ("a.mp4", "x/same.mp4", "y/same.mp4"):
        add_video(root / name)
    (root / "notes.txt").write_text("no video")
    lines = ["a.mp4", "gone.mp4", "../secret.mp4", "/etc/passwd", "same.mp4", "notes.txt"]
    (root / "labels.csv").write_text("file,label\n" + "".join(f"{line},l\n" for line in lines))
    videos = scan(root, "labels.csv")
    assert videos["a.mp4"].usable and videos["a.mp4"].labels == ("l",)
    assert "missing" in videos["gone.mp4"].reason
    assert "leads out" in videos["outside/secret.mp4"].reason
    assert "leads out" in videos["outside/etc/passwd"].reason
    assert "not clear" in videos["same.mp4"].reason
    assert "name ends in" in videos["notes.txt"].reason
    assert [path for path, video in videos.items() if video.usable] == ["a.mp4", "x/same.mp4", "y/same.mp4"]


def test_absolute_paths_inside_the_folder_are_fine(tmp_path: Path) -> None:
    add_video(tmp_path / "a.mp4")
    (tmp_path / "labels.csv").write_text(f"file,label\n{tmp_path / 'a.mp4'},l\n")
    assert scan(tmp_path, "labels.csv")["a.mp4"].labels == ("l",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "file,label\na.mp4,x\n./a.mp4,y\n",
            r"line 3: './a\.mp4' is the file a\.mp4, which an earlier line names",
        ),
        ("name,label\na.mp4,x\n", r"corpus\.columns\.file: .* no column 'file'; its columns are name, label"),
        ("file\na.mp4\n", r"corpus\.columns\.label"),
        ("", r"its columns are none"),
        ("file,label\n,x\n", r"line 2: column 'file' is empty"),
        ("file,label\na.mp4,caf\xe9\n", "not a CSV file in UTF-8"),
    ],
)
def test_a_csv_at_fault_is_named(tmp_path: Path, text: str, message: str) -> None:
    add_video(tmp_path / "a.mp4")
    (tmp_path / "labels.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=message) as error:
        scan(tmp_path, "labels.csv")
    assert "\n" not in str(error.value)


def test_an_unknown_split_is_named(tmp_path: Path) -> None:
    add_video(tmp_path / "a.mp4")
    (tmp_path / "labels.csv").write_text("file,part\na.mp4,test\n")
    columns = FolderColumns(file="file", label=None, fine_label=None, group=None, split="part")
    with pytest.raises(
        UserError, match="line 2: split 'test'; allowed are train, validation, database, query"
    ):
        scan(tmp_path, "labels.csv", columns)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        scan(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"no videos found; looked for files that end in \.mp4"):
        scan(tmp_path)
    add_video(tmp_path / "a.mp4")
    with pytest.raises(UserError, match="does not exist"):
        scan(tmp_path, "labels.csv")


@pytest.mark.parametrize("kind", ["pipe", "a link to itself", "folder"])
def test_a_csv_that_is_no_file_is_as_none(tmp_path: Path, kind: str) -> None:
    add_video(tmp_path / "a.mp4")
    table = tmp_path / "labels.csv"
    if kind == "pipe":
        os.mkfifo(table)
    elif kind == "folder":
        table.mkdir()
    else:
        table.symlink_to(table)
    with pytest.raises(UserError, match=r"labels\.csv does not exist"):
        scan(tmp_path, "labels.csv")


def test_the_webcam_clips_are_found_by_their_labels_csv(shared: Path) -> None:
    from ssvh_model.corpus.folder import _read_csv, find_videos

    root = LocalPlace(shared / "data" / "asl_webcam")
    columns = FolderColumns(file="clip", label="class", fine_label=None, group="block", split=None)
    paths, outside = find_videos(root)
    lines = _read_csv(root, "labels.csv", columns, paths)
    assert len(paths) == 696 and set(lines) == set(paths) and not outside
    assert lines["clips/A_00.mp4"].labels == ("A",)
    assert len({video.group for video in lines.values()}) == 24
