"""A stage needs memory for the features of its videos, and beside them as much whatever their number."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from ssvh_model.features import FeatureMeta, write_meta, write_table
from ssvh_model.manifest import Video, write_manifest
from tests.conftest import REPOSITORY
from tests.ssvh_model.video.odd_videos import video_maker
from tests.tasks.experiments.small import write_tiny_params
from tests.tasks.training.one_stage import FEATURES, MANIFEST, STAGES, VIDEOS

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(900)]

MIB = 2**20
BESIDE = 768 * MIB  # that docs/explanation/speed.md states
NOISE = 64 * MIB  # between two runs of the same
FRAMES = 25


def write_features(path: Path, videos: int, size: int) -> None:
    """Made-up features of ten kinds: a tenth of the videos queries, a tenth for validation, the rest to
    train.
    """
    rng = np.random.default_rng(0)
    kinds = rng.normal(size=(10, 1, size)).astype(np.float32)
    with h5py.File(path, "w") as file:
        data = file.create_dataset("features", (videos, FRAMES, size), np.float16)
        for row in range(videos):
            data[row] = kinds[row % 10] + rng.standard_normal((FRAMES, size), dtype=np.float32)
        write_table(
            file,
            ids=[f"video {row}" for row in range(videos)],
            labels=[(f"kind {row % 10}",) for row in range(videos)],
            fine_labels=None,
            splits=[{0: "query", 1: "validation"}.get(row // 10 % 10, "train") for row in range(videos)],
            groups=None,
        )
        write_meta(file, FeatureMeta("none", "", 1), frames=FRAMES)


def write_videos(folder: Path, videos: int) -> None:
    """A manifest of so many videos, all of the same file."""
    path = video_maker(folder / VIDEOS)(frames=FRAMES)
    write_manifest(
        folder / MANIFEST,
        [Video(id=f"video {row}", path=path.name, split="train") for row in range(videos)],
    )


def peak(stage: str, folder: Path, limit: int) -> int:
    done = subprocess.run(
        [sys.executable, "-m", "tests.tasks.training.one_stage", stage, str(limit)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{stage}: {done.stderr[-3000:]}"
    return int(done.stdout.split()[-1])


def assert_bounded(tmp_path: Path, stages: list[str], bytes_of: dict[int, int]) -> None:
    """Run stages with few and with many videos, in folders of their number; `bytes_of` are those of their
    features.
    """
    few, many = sorted(bytes_of)
    for stage in stages:
        peaks = {
            videos: peak(stage, tmp_path / str(videos), BESIDE + bytes_of[videos]) for videos in (few, many)
        }
        print(stage, *(f"{videos} videos, {found / MIB:.0f} MiB;" for videos, found in peaks.items()))
        allowed = bytes_of[many] - bytes_of[few]
        assert peaks[many] - peaks[few] <= allowed + NOISE, f"{stage}: {peaks}, {allowed} more features"
        assert peaks[many] <= bytes_of[many] + BESIDE, f"{stage}: {peaks}"


def test_training_and_evaluation_take_the_features_and_a_constant(tmp_path: Path) -> None:
    size = 512
    bytes_of = {videos: 2 * FRAMES * size * videos for videos in (500, 4500)}
    for videos in bytes_of:
        folder = tmp_path / str(videos)
        folder.mkdir()
        write_features(folder / FEATURES, videos, size)
        write_tiny_params(folder / "params.yaml", running__device="cpu", warmup__epochs=1)
    assert_bounded(tmp_path, [stage for stage in STAGES if stage != "features"], bytes_of)


def test_extraction_takes_a_constant(tmp_path: Path) -> None:
    bytes_of = {128: 0, 1280: 0}  # features are written shard by shard, none is held
    for videos in bytes_of:
        folder = tmp_path / str(videos)
        folder.mkdir()
        write_videos(folder, videos)
        write_tiny_params(
            folder / "params.yaml",
            running__device="cpu",
            features__engine="torch",
            features__size=32,
            features__thumbnail=16,
        )
    assert_bounded(tmp_path, ["features"], bytes_of)
