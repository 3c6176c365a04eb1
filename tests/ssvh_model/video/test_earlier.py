from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ssvh_model.features import FeatureFile, FeatureMeta
from ssvh_model.files import sha256_of
from ssvh_model.manifest import Video, write_manifest
from ssvh_model.progress import no_progress
from ssvh_model.video.earlier import EarlierFeatures
from ssvh_model.video.extraction import extract_features
from tests.ssvh_model.video.odd_videos import MeanColours, video_maker

META = FeatureMeta("mean colours", "0" * 64, 32)


def corpus(root: Path, names: str) -> list[Video]:
    return [
        Video(id=name, path=f"{name}.mp4", split="train", sha256=sha256_of(root / f"{name}.mp4"))
        for name in names
    ]


def extract(videos: list[Video], root: Path, folder: Path, earlier: list[Path]) -> list[Video]:
    result = extract_features(
        videos,
        root,
        MeanColours(),
        frames=4,
        batch_size=7,
        thumbnail=24,
        folder=folder,
        workers=1,
        progress=no_progress,
        earlier=earlier,
    )
    write_manifest(folder / "manifest.csv", result)
    return result


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make = video_maker(tmp_path / "videos")
    for number, name in enumerate("abcde"):
        make(f"{name}.mp4", frames=5 + 3 * number)
    return tmp_path / "videos"


def test_only_new_and_changed_videos_are_decoded(root: Path, tmp_path: Path) -> None:
    before = corpus(root, "ace")
    extract(before, root, tmp_path / "before", [])
    everything = corpus(root, "abcde")
    extract(everything, root, tmp_path / "anew", [])

    # What must not be decoded again can't be: the manifest still has the digest of the files that were there.
    for video in before:
        (root / video.path).write_text("no video any more")
    result = extract(everything, root, tmp_path / "after", [tmp_path / "before"])
    assert all(video.usable for video in result)
    assert [video.frames for video in result] == [5, 8, 11, 14, 17]
    anew, after = FeatureFile(tmp_path / "anew/features.h5"), FeatureFile(tmp_path / "after/features.h5")
    assert after.ids == anew.ids
    np.testing.assert_array_equal(after.read(range(5)).numpy(), anew.read(range(5)).numpy())
    np.testing.assert_array_equal(after.frame_indices, anew.frame_indices)
    thumbnails = [(tmp_path / name / "thumbnails.h5").read_bytes() for name in ("anew", "after")]
    assert len(thumbnails[0]) == len(thumbnails[1])

    # A file with other bytes under an old name is another video.
    changed = [*corpus(root, "a"), *everything[1:]]
    result = extract(changed, root, tmp_path / "changed", [tmp_path / "before", tmp_path / "anew"])
    assert [video.usable for video in result] == [False, True, True, True, True]


def test_what_was_made_otherwise_or_is_damaged_counts_for_nothing(root: Path, tmp_path: Path) -> None:
    videos = corpus(root, "ab")
    extract(videos, root, tmp_path / "good", [])
    for name in ("truncated", "no manifest", "no thumbnails"):
        shutil.copytree(tmp_path / "good", tmp_path / name)
    whole = (tmp_path / "good/features.h5").read_bytes()
    (tmp_path / "truncated/features.h5").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "no manifest/manifest.csv").unlink()
    (tmp_path / "no thumbnails/thumbnails.h5").unlink()

    assert len(EarlierFeatures([tmp_path / "good"], meta=META, frames=4)) == 2
    for name in ("truncated", "no manifest", "no thumbnails", "missing"):
        assert len(EarlierFeatures([tmp_path / name], meta=META, frames=4)) == 0, name
    for meta, frames in (
        (FeatureMeta("mean colours", "1" * 64, 32), 4),
        (replace(META, engine="openvino"), 4),
        (replace(META, precision="bfloat16"), 4),
        (META, 5),
    ):
        assert len(EarlierFeatures([tmp_path / "good"], meta=meta, frames=frames)) == 0


@pytest.mark.parametrize("gone", ["shards", "thumbnails.h5", "."])
def test_what_another_process_removes_meanwhile_is_made_anew(root: Path, tmp_path: Path, gone: str) -> None:
    videos = corpus(root, "ab")
    extract(videos, root, tmp_path / "before", [])
    earlier = EarlierFeatures([tmp_path / "before"], meta=META, frames=4)
    path = tmp_path / "before" / gone
    path.unlink() if path.is_file() else shutil.rmtree(path)
    # HDF5 gives "not a number" for what a joined file points to and does not find.
    assert [earlier.find(video.sha256) for video in videos] == [None, None]
