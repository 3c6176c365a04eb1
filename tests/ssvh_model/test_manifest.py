from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssvh_model.errors import UserError
from ssvh_model.manifest import (
    Video,
    format_bad_frames,
    parse_bad_frames,
    read_manifest,
    stays_inside,
    write_manifest,
)

VIDEOS = [
    Video(
        "a",
        "x/a, b.mp4",
        ("one", "two"),
        ("one:1",),
        "g",
        "train",
        25,
        2.5,
        sha256="ab",
        bad_frames={1: "black", 2: "black", 7: "static"},
    ),
    Video("b", 'x/"b".mp4', split="query").left_out("not a\nvideo"),
]


def test_a_manifest_survives_the_file(tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    write_manifest(path, VIDEOS)
    assert read_manifest(path) == VIDEOS
    assert VIDEOS[1].split == "" and VIDEOS[1].reason == "not a video" and not VIDEOS[1].usable
    assert [entry.name for entry in tmp_path.iterdir()] == ["manifest.csv"], "no temporary file is left"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("id,path", "id,file", "column 'path' is missing"),
        ("\nb,", "\na,", "id 'a' stands there twice"),
        ("x/a, b.mp4", "../a.mp4", "leads out of the video folder"),
        ("x/a, b.mp4", "/etc/a.mp4", "leads out of the video folder"),
        ("train", "exam", "allowed are train, validation, database, query"),
        (",25,", ",many,", "line 2"),
        ("black:1-2", "black:one", "bad_frames"),
    ],
)
def test_a_damaged_manifest_is_one_line_that_names_the_place(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = tmp_path / "manifest.csv"
    write_manifest(path, VIDEOS)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(UserError, match=message) as caught:
        read_manifest(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_manifest_says_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="stage 'corpus' makes it"):
        read_manifest(tmp_path / "none.csv")


@given(st.dictionaries(st.integers(0, 300), st.sampled_from(["black", "static", "blurred"])))
def test_bad_frames_survive_their_text(bad_frames: dict[int, str]) -> None:
    assert parse_bad_frames(format_bad_frames(bad_frames)) == bad_frames


@pytest.mark.parametrize("path", ["", "/a", "../a", "a/../../b", "a\0b"])
def test_paths_that_lead_out_are_known(path: str) -> None:
    assert not stays_inside(path)
    assert stays_inside("a/b.mp4") and stays_inside("a/..b/c..mp4")
