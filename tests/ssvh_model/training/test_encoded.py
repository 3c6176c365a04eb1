from __future__ import annotations

from pathlib import Path

import numpy as np

from ssvh_model.features import FeatureFile, FeatureMeta, write_feature_file
from ssvh_model.training.encoded import ROWS_AT_ONCE, mean_features


def test_mean_features_are_means_over_the_frames_of_the_rows_in_their_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    videos = 2 * ROWS_AT_ONCE + 20
    values = rng.normal(size=(videos, 3, 5)).astype(np.float16)
    names = [f"video {row}" for row in range(videos)]
    write_feature_file(
        tmp_path / "features.h5",
        values,
        ids=names,
        labels=[()] * videos,
        splits=["train"] * videos,
        meta=FeatureMeta("none", "", 1),
    )
    file = FeatureFile(tmp_path / "features.h5")
    rows = rng.permutation(videos)[: videos - 7]
    found = mean_features(file, rows)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, values[rows].astype(np.float64).mean(axis=1), rtol=1e-5, atol=1e-6)
    assert mean_features(file, rows[:0]).shape == (0, 5)
