"""Makes the features that a sampler would learn from that knows every planted fault and never shows one.

    python benchmarks/known_faults.py
    python benchmarks/known_faults.py --data data --write .work/known-faults.h5

Needs the demo corpus (`make run`). In training videos each planted bad frame becomes the good frame that is
nearest in time; validation, database and query videos stay as they are. What a training gains by that
(benchmarks/quality.py with both files) is the most that telling faults from hard frames can bring.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from sampler_picks import GOOD, kinds_of_frames

from ssvh_model.features import FeatureFile, write_feature_file


def nearest_good_frames(good: np.ndarray) -> np.ndarray:
    """For each frame the good one that is nearest, the earlier of two; for a video without good frames each
    itself. [n, M] bool to [n, M] int64.
    """
    positions = np.arange(good.shape[1])
    away = np.abs(positions[:, None] - positions)
    nearest = np.where(good[:, None, :], away, away.size).argmin(axis=2)
    return np.where(good.any(axis=1)[:, None], nearest, positions)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, default=Path("data"), help="with corpus and features of the demo"
    )
    parser.add_argument("--write", type=Path, default=Path(".work/known-faults.h5"), help="the file to make")
    arguments = parser.parse_args()

    file = FeatureFile(arguments.data / "features/features.h5")
    rows = file.rows("train")
    good = kinds_of_frames(file, arguments.data / "corpus/manifest.csv", rows) == GOOD
    features = file.read(np.arange(len(file))).numpy()
    features[rows] = np.take_along_axis(features[rows], nearest_good_frames(good)[..., None], axis=1)
    write_feature_file(
        arguments.write,
        features,
        ids=file.ids,
        labels=file.labels,
        splits=file.splits,
        meta=file.meta,
        fine_labels=file.fine_labels,
        groups=file.groups,
        frame_indices=file.frame_indices,
    )
    print(f"{arguments.write}: {(~good).sum()} of {good.size} frames of {len(rows)} training videos replaced")


if __name__ == "__main__":
    main()
