from __future__ import annotations

import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from ssvh_model.corpus.published.features import check_features, link_features
from ssvh_model.corpus.published.sets import PUBLISHED_SETS
from ssvh_model.corpus.published.sources import FeatureSource, read_published
from ssvh_model.corpus.splits import SplitSpec
from ssvh_model.errors import UserError
from ssvh_model.features import BYTES_AT_ONCE, FeatureFile
from ssvh_model.manifest import Video
from ssvh_model.training.frame_source import FrameSource
from tests.published_files import FRAMES, SIZE, features_of, write_published

pytestmark = pytest.mark.slow

SPLIT = SplitSpec(validation=0.25, database=0.0, query=0.0, validation_groups=(), query_groups=())


def linked(folder: Path, dataset: str, *, place: str = "data/features") -> FeatureFile:
    """What the stages corpus and features make of the files in `folder`, read from `place` in the present
    folder.
    """
    videos, sources = read_published(folder, dataset, check_counts=False, split=SPLIT, seed=1)
    check_features(sources)
    # As the stage does it: written elsewhere, then put in place.
    link_features(Path("work/features.h5"), sources, videos, dataset=dataset, readable_in=Path(place))
    Path(place).mkdir(parents=True, exist_ok=True)
    Path("work/features.h5").rename(Path(place) / "features.h5")
    return FeatureFile(Path(place) / "features.h5")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("dataset", list(PUBLISHED_SETS))
def test_the_link_reads_as_the_files_themselves(
    project: Path, dataset: str, absolute: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project / "published" if absolute else Path("published")
    write_published(folder, dataset)
    file = linked(folder, dataset)
    wanted = torch.from_numpy(features_of(folder, dataset)).half()
    assert file.shape == (len(wanted), FRAMES, SIZE)
    monkeypatch.chdir("/")  # where it is read from must not matter
    file = FeatureFile(project / "data/features/features.h5")
    assert torch.equal(file.read(range(len(file))), wanted)
    rows = [len(file) - 1, 3, 3, 30, 0, 23, 24]  # across the border of two files
    assert torch.equal(file.read(rows), wanted[rows])
    assert file.splits.count("validation") == 6
    assert file.meta.backbone == f"published/{dataset}" and not file.meta.weights_sha256


def test_streamed_and_held_features_are_the_same_batches() -> None:
    write_published(Path("published"), "ucf101")
    file = linked(Path("published"), "ucf101")
    rows = file.rows("train")
    size = len(rows) * FRAMES * SIZE * 2
    held = FrameSource.from_file(file, rows, memory_limit=size)
    streamed = FrameSource.from_file(file, rows, memory_limit=size - 1)
    order = np.random.default_rng(0).permutation(len(rows))
    with h5py.File("published/ucf_train_feats.h5", "a") as source:
        batches = [(held.fetch(batch), streamed.fetch(batch)) for batch in np.array_split(order, 4)]
        assert all(torch.equal(one, other) for one, other in batches)
        source["feats"][:] = 7.0
        source.flush()
    # Which of them is in memory shows when the file changes.
    assert torch.equal(held.fetch(order[:4]), batches[0][0][:4])
    assert (FeatureFile(file.path).read(rows[order[:4]]) == 7).all()


def test_features_that_fit_are_held_once() -> None:
    folder, rows = Path("published"), 3 * BYTES_AT_ONCE // (FRAMES * 4096 * 4)
    folder.mkdir()
    with h5py.File(folder / "train_feats.h5", "w") as written:
        written["feats"] = np.full((rows, FRAMES, 4096), 0.5, np.float32)
    source = FeatureSource("published/train_feats.h5", (rows, FRAMES, 4096), "")
    videos = [Video(str(row), "train_feats.h5", split="train") for row in range(rows)]
    link_features(Path("f/features.h5"), [source], videos, dataset="activitynet", readable_in=Path("f"))
    file = FeatureFile(Path("f/features.h5"))
    tracemalloc.start()
    held = FrameSource.from_file(file, np.arange(rows), memory_limit=2**40)
    assert tracemalloc.get_traced_memory()[1] < BYTES_AT_ONCE  # not before they are needed
    last = held.fetch(np.array([rows - 1]))
    assert held.fetch(np.array([0, rows - 1])).equal(last.repeat(2, 1, 1))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (last == 0.5).all()
    once = rows * FRAMES * 4096 * 2
    # A second copy, or the float32 of the file, would be 1.5 or 3 parts more.
    assert once < most < once + 1.3 * BYTES_AT_ONCE


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e6])
def test_a_value_that_can_not_be_trained_with_names_file_and_row(value: float) -> None:
    write_published(Path("published"), "ucf101")
    with h5py.File("published/ucf_test_feats.h5", "a") as file:
        file["feats"][17, 2, 5] = value
    with pytest.raises(UserError) as caught:
        linked(Path("published"), "ucf101")
    assert str(caught.value) == (
        f"published/ucf_test_feats.h5: 'feats', row 17, holds {value:g}; allowed are finite numbers up to 65504"
    )


def test_the_last_block_of_many_is_looked_at_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ssvh_model.corpus.published.features.BYTES_AT_ONCE", 5 * FRAMES * SIZE * 4)
    write_published(Path("published"), "ucf101")
    told: list[tuple[int, int]] = []
    _, sources = read_published(Path("published"), "ucf101", check_counts=False, split=SPLIT, seed=1)
    check_features(sources, progress=lambda done, total: told.append((done, total)))
    assert told[0] == (5, 48) and told[-1] == (48, 48)
    with h5py.File("published/ucf_test_feats.h5", "a") as file:
        file["feats"][23, -1, -1] = np.nan
    with pytest.raises(UserError, match="row 23, holds nan"):
        check_features(sources)


def test_a_file_that_changed_since_the_stage_corpus() -> None:
    write_published(Path("published"), "ucf101")
    _, sources = read_published(Path("published"), "ucf101", check_counts=False, split=SPLIT, seed=1)
    write_published(Path("published"), "ucf101", videos=20)
    with pytest.raises(UserError, match=r"has shape \[20, 6, 16\] now, \[24, 6, 16\] when the stage corpus"):
        check_features(sources)


def test_files_that_have_gone_are_told_and_never_read_as_zeros() -> None:
    write_published(Path("published"), "ucf101")
    file = linked(Path("published"), "ucf101")
    file.read([0])
    write_published(Path("published"), "ucf101", videos=20)
    with pytest.raises(UserError, match=r"published/ucf_train_feats.h5, which has shape \[20, 6, 16\] now"):
        FeatureFile(file.path)
    Path("published/ucf_train_feats.h5").write_text("text")
    with pytest.raises(UserError, match=r"ucf_train_feats\.h5, which is not readable"):
        FeatureFile(file.path)
    Path("published/ucf_train_feats.h5").unlink()
    with pytest.raises(UserError) as caught:
        FeatureFile(file.path)
    assert str(caught.value) == (
        "data/features/features.h5: its features are in published/ucf_train_feats.h5, which is not there"
    )
    with h5py.File(file.path, "r") as raw:
        assert np.isnan(raw["features"][0]).all()
