"""benchmarks/known_faults.py: what a training sees that knows the planted faults."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from ssvh_model.corpus.bad_frames import KINDS
from ssvh_model.features import FeatureFile, FeatureMeta, write_feature_file
from ssvh_model.manifest import Video, write_manifest
from tests.conftest import REPOSITORY

SCRIPT = REPOSITORY / "benchmarks/known_faults.py"


def test_faults_of_training_videos_become_the_nearest_good_frame(tmp_path: Path) -> None:
    faults = [{0, 2, 3}, set(range(6)), {1}]
    splits = ["train", "train", "query"]
    ids = ["a", "b", "c"]
    features = np.arange(3 * 6 * 2, dtype=np.float16).reshape(3, 6, 2)
    meta = FeatureMeta("some", "", 32)
    indices = np.tile(10 * np.arange(6), (3, 1))  # of the file's frames, of which every tenth is sampled
    for folder in ("features", "corpus"):
        (tmp_path / folder).mkdir()
    write_feature_file(
        tmp_path / "features/features.h5",
        features,
        ids=ids,
        labels=[("x",)] * 3,
        splits=splits,
        meta=meta,
        frame_indices=indices,
    )
    write_manifest(
        tmp_path / "corpus/manifest.csv",
        [
            Video(video, f"{video}.mp4", ("x",), split=split, bad_frames={10 * at: KINDS[0] for at in bad})
            for video, split, bad in zip(ids, splits, faults, strict=True)
        ],
    )

    made = subprocess.run(
        [sys.executable, SCRIPT, "--data", tmp_path, "--write", tmp_path / "known.h5"],
        capture_output=True,
        text=True,
    )

    assert made.returncode == 0, made.stderr
    assert "9 of 12 frames of 2 training videos" in made.stdout
    known = FeatureFile(tmp_path / "known.h5")
    read = known.read([0, 1, 2]).numpy()
    assert np.array_equal(read[0], features[0][[1, 1, 1, 4, 4, 5]])
    assert np.array_equal(read[1:], features[1:])  # without a good frame, or no training video: as it was
    assert (known.splits, known.ids, known.labels) == (splits, ids, [("x",)] * 3)
