"""Labels in MATLAB files, as the published data sets have them."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from ssvh_model.corpus.mat_table import read_mat_table
from ssvh_model.errors import UserError
from ssvh_model.hdf5 import checked_data_set, damage_reported, is_group, open_hdf5


def read_mat_labels(path: Path, key: str, *, videos: int, features: Path) -> list[tuple[str, ...]]:
    """Labels of every video: the numbers of its classes, from "0"; none for a row of zeros.

    Args:
        path: a MATLAB file of any version, v7.3 (which is HDF5) among them.
        key: its variable, [videos, classes] of zeros and ones, dense or (before v7.3) sparse.
        videos: rows that there must be.
        features: the feature file that has the same videos; for the message.

    Raises:
        UserError: the file is missing or damaged, the variable is missing or of another form, or its rows are
            not `videos`.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; the labels of {features.name} are looked for there")
    table = _v73(path, key) if h5py.is_hdf5(path) else read_mat_table(path, key)
    if table.ndim != 2 or table.dtype.kind not in "biuf":
        raise UserError(
            f"{path}: {key!r} has shape {list(table.shape)} of {table.dtype}; allowed is [videos, classes] of numbers"
        )
    if len(table) != videos:
        raise UserError(
            f"{path}: {key!r} has {len(table)} rows, but {features.name} has {videos} videos; allowed is one row a video"
        )
    wrong = (table != 0) & (table != 1)
    if wrong.any():
        row, column = (int(place[0]) for place in np.nonzero(wrong))
        raise UserError(
            f"{path}: {key!r}, row {row}, column {column}: {table[row, column]:g}; allowed are 0 and 1"
        )
    labels: list[list[str]] = [[] for _ in range(videos)]
    for row, column in np.argwhere(table):
        labels[row].append(str(column))
    return [tuple(names) for names in labels]


def _v73(path: Path, key: str) -> np.ndarray:
    with damage_reported(path, "MATLAB file"), open_hdf5(path, "MATLAB file") as file:
        names = [name for name in file if not name.startswith("#")]
        if key not in names:
            raise _no_variable(path, key, names)
        if is_group(file, key):
            raise UserError(f"{path}: {key!r} is sparse or a structure; allowed is a full matrix")
        return np.asarray(checked_data_set(file, key)[()]).T  # MATLAB counts columns first


def _no_variable(path: Path, key: str, names: list[str]) -> UserError:
    return UserError(f"{path}: variable {key!r} is missing; there is {', '.join(names) or 'nothing'}")
