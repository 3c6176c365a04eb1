"""Feature files from elsewhere, and validation videos where a file has none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ssvh_model.corpus.splits import SplitSpec, assign_splits
from ssvh_model.errors import UserError
from ssvh_model.features import FeatureFile, FeatureMeta, write_feature_file
from ssvh_model.hdf5 import as_text, checked_data_set, damage_reported, open_hdf5
from ssvh_model.manifest import Video

GROUPS = ("groups", "block")


def as_feature_file(path: Path, folder: Path, *, labels: str = "labels") -> FeatureFile:
    """The file itself, or one of our form made from `features` [n, M, D], `labels` [n] and `is_query` [n].

    All videos that are no queries are then for training. `groups` [n] (or `block`), where there, names the
    recordings that belong together.

    Args:
        path: the HDF5 file.
        folder: where one of our form is written as features.h5, if needed; what stands there already is
            replaced.
        labels: data set that holds the labels, of a file that is not of our form.

    Raises:
        UserError: missing, not HDF5, a data set is missing, or their lengths disagree.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such feature file")
    with damage_reported(path, "feature file"), open_hdf5(path, "feature file") as file:
        if "splits" in file:
            return FeatureFile(path)
        needed = ("features", labels, "is_query")
        for name in needed:
            if name not in file:
                raise UserError(
                    f"{path}: data set {name!r} is missing; needed are {', '.join(needed)}, or a file of the stage features"
                )
            if len(checked_data_set(file, name)) != len(checked_data_set(file, "features")):
                raise UserError(
                    f"{path}: {name!r} has {len(file[name])} rows, 'features' has {len(file['features'])}"
                )
        groups = next((checked_data_set(file, name)[:] for name in GROUPS if name in file), None)
        is_query = file["is_query"][:]
        write_feature_file(
            folder / "features.h5",
            file["features"][:],
            ids=[str(row) for row in range(len(is_query))],
            labels=[(_text(label),) for label in file[labels][:]],
            splits=["query" if query else "train" for query in is_query],
            groups=None if groups is None else [_text(group) for group in groups],
            meta=FeatureMeta("", "", 0),
        )
    return FeatureFile(folder / "features.h5")


def hold_out_validation(file: FeatureFile, *, share: float, groups: Sequence[str] = (), seed: int) -> bool:
    """Make some training videos of `file`, in memory, validation videos, if it has none.

    They are chosen as by `assign_splits`, recordings whole and labels spread evenly.

    Args:
        share: of the training videos, where no groups are named.
        groups: recordings that are held out.
        seed: of the choice.

    Returns:
        True if it had none.

    Raises:
        UserError: that leaves no validation videos.
    """
    if "validation" in file.splits:
        return False
    spec = SplitSpec(0.0 if groups else share, 0.0, 0.0, tuple(groups), ())
    rows = file.rows("train")
    videos = [Video(file.ids[row], "", file.labels[row], (), file.groups[row]) for row in rows]
    for row, video in zip(rows, assign_splits(videos, spec, seed=seed), strict=True):
        file.splits[row] = video.split
    if "validation" not in file.splits:
        raise UserError(
            f"{file.path}: has no validation videos, and corpus.split.validation is {share}; allowed is above 0"
        )
    return True


def _text(value: object) -> str:
    return as_text(value) if isinstance(value, bytes) else str(value)
