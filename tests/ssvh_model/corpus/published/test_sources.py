from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from ssvh_model.corpus.published import sets
from ssvh_model.corpus.published.sets import PUBLISHED_SETS
from ssvh_model.corpus.published.sources import FeatureSource, read_published, read_sources, write_sources
from ssvh_model.corpus.splits import SplitSpec
from ssvh_model.errors import UserError
from ssvh_model.manifest import Video, read_manifest, write_manifest
from tests.published_files import CLASSES, FRAMES, SIZE, write_published

NO_VALIDATION = SplitSpec(validation=0.0, database=0.1, query=0.2, validation_groups=(), query_groups=())


def read(
    folder: Path, dataset: str, *, validation: float = 0.0, check: bool = False, seed: int = 1
) -> tuple[list[Video], list[FeatureSource]]:
    return read_published(
        folder,
        dataset,
        check_counts=check,
        split=replace(NO_VALIDATION, validation=validation),
        seed=seed,
    )


def refused(folder: Path, dataset: str = "ucf101", *, check: bool = False) -> str:
    with pytest.raises(UserError) as caught:
        read(folder, dataset, check=check)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("dataset", "splits", "labelled"),
    [
        ("activitynet", ["train", "database", "query"], ["database", "query"]),
        ("fcvid", ["train", "database"], ["train", "database"]),
        ("ucf101", ["train", "query"], ["train", "query"]),
        ("hmdb51", ["train", "query"], ["train", "query"]),
    ],
)
def test_every_data_set_has_the_splits_of_its_protocol(
    tmp_path: Path, dataset: str, splits: list[str], labelled: list[str]
) -> None:
    write_published(tmp_path, dataset)
    videos, sources = read(tmp_path, dataset)
    assert [video.split for video in videos] == [split for split in splits for _ in range(24)]
    assert len({video.id for video in videos}) == len(videos)
    assert {video.split for video in videos if video.labels} == set(labelled)
    second = [video for video in videos if video.split == splits[1]]
    wanted = [
        {str(row % CLASSES)} | ({str((row + 1) % CLASSES)} if dataset == "fcvid" and row % 5 == 0 else set())
        for row in range(24)
    ]
    assert [set(video.labels) for video in second] == wanted
    assert [source.shape for source in sources] == [(24, FRAMES, SIZE)] * len(splits)
    assert {video.sha256 for video in second} == {sources[1].sha256}

    write_manifest(tmp_path / "manifest.csv", videos)
    assert read_manifest(tmp_path / "manifest.csv") == videos
    write_sources(tmp_path / "sources.json", sources)
    assert read_sources(tmp_path / "sources.json") == sources


def test_the_published_counts_are_those_of_the_protocols() -> None:
    assert {name: [part.videos for part in known.parts] for name, known in PUBLISHED_SETS.items()} == {
        "activitynet": [9722, 3758, 1000],
        "fcvid": [45585, 45600],
        "ucf101": [9537, 3783],
        "hmdb51": [3570, 1530],
    }


def test_counts_are_held_against_the_published_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_published(tmp_path, "ucf101")
    text = refused(tmp_path, check=True)
    assert text.startswith(
        f"{tmp_path}/ucf_train_feats.h5: 'feats' has shape [24, 6, 16]; ucf101 has [9537, 25, 4096]"
    )
    assert "corpus.published.counts: ignore" in text
    small = sets.PublishedSet(
        FRAMES, SIZE, tuple(replace(part, videos=24) for part in PUBLISHED_SETS["ucf101"].parts)
    )
    monkeypatch.setitem(PUBLISHED_SETS, "ucf101", small)
    assert len(read(tmp_path, "ucf101", check=True)[0]) == 48


@pytest.mark.slow
def test_validation_comes_out_of_the_training_videos_only(tmp_path: Path) -> None:
    write_published(tmp_path, "fcvid", videos=40)
    plain, _ = read(tmp_path, "fcvid")
    videos, _ = read(tmp_path, "fcvid", validation=0.2)
    counts = Counter(video.split for video in videos)
    assert counts == {"train": 32, "validation": 8, "database": 40}
    assert [video.split for video in videos[40:]] == ["database"] * 40
    assert [video.id for video in videos] == [video.id for video in plain]
    assert videos == read(tmp_path, "fcvid", validation=0.2)[0]
    assert videos != read(tmp_path, "fcvid", validation=0.2, seed=2)[0]
    held = Counter(label for video in videos if video.split == "validation" for label in video.labels)
    assert len(held) == CLASSES


def test_a_changed_feature_changes_the_manifest(tmp_path: Path) -> None:
    write_published(tmp_path, "ucf101")
    before, _ = read(tmp_path, "ucf101")
    with h5py.File(tmp_path / "ucf_test_feats.h5", "a") as file:
        file["feats"][3, 0, 0] += 1
    after, _ = read(tmp_path, "ucf101")
    changed = {old.split for old, new in zip(before, after, strict=True) if old != new}
    assert changed == {"query"}


def rewritten(name: str, values: np.ndarray | None, key: str = "feats") -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        (folder / name).unlink()
        with h5py.File(folder / name, "w") as file:
            if values is not None:
                file[key] = values

    return rewrite


def scrambled(name: str) -> Callable[[Path], None]:
    def scramble(folder: Path) -> None:
        (folder / name).write_bytes(b"nothing of the kind" * 20)

    return scramble


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, ": no such folder; corpus.path says where"),
        (lambda folder: (folder / "ucf_test_feats.h5").unlink(), "ucf_test_feats.h5: no such file"),
        (
            lambda folder: (folder / "ucf_test_labels.mat").unlink(),
            "ucf_test_labels.mat: no such file; the labels of ucf_test_feats.h5",
        ),
        (scrambled("ucf_train_feats.h5"), "ucf_train_feats.h5: not a readable HDF5 file"),
        (
            rewritten("ucf_train_feats.h5", np.zeros((24, 6, 16), np.float32), key="features"),
            "ucf_train_feats.h5: data set 'feats' is missing; there is features",
        ),
        (
            rewritten("ucf_train_feats.h5", None),
            "ucf_train_feats.h5: data set 'feats' is missing; there is nothing",
        ),
        (
            rewritten("ucf_train_feats.h5", np.zeros((24, 96), np.float32)),
            "'feats' is shape [24, 96] of float32; allowed is [videos, frames, size]",
        ),
        (
            rewritten("ucf_train_feats.h5", np.zeros((24, 6, 16), np.int32)),
            "of int32; allowed is [videos, frames, size] of float32",
        ),
        (
            rewritten("ucf_train_feats.h5", np.zeros((0, 6, 16), np.float32)),
            "has shape [0, 6, 16]; it must not be empty",
        ),
        (
            rewritten("ucf_test_feats.h5", np.zeros((24, 5, 16), np.float32)),
            "ucf_test_feats.h5: 'feats' has 5 frames of size 16; ucf_train_feats.h5 has 6 of size 16",
        ),
        (
            rewritten("ucf_test_feats.h5", np.zeros((23, 6, 16), np.float32)),
            "ucf_test_labels.mat: 'labels' has 24 rows, but ucf_test_feats.h5 has 23 videos",
        ),
    ],
)
def test_wrong_files_are_one_clear_line(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    folder = tmp_path / "published"
    write_published(folder, "ucf101")
    damage(folder)
    assert message in refused(folder)


def test_a_damaged_list_of_sources(tmp_path: Path) -> None:
    (tmp_path / "sources.json").write_text('[{"path": 1}]')
    with pytest.raises(UserError, match="the stage 'corpus' makes it"):
        read_sources(tmp_path / "sources.json")
