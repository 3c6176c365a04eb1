"""HDF5 data sets that join the rows of others without copying them (virtual data sets)."""

from __future__ import annotations

import os
from collections.abc import Sequence

import h5py
import numpy as np


def join_rows(
    file: h5py.File,
    name: str,
    sources: Sequence[tuple[str, int]],
    *,
    their_name: str | None = None,
    size: tuple[int, ...],
    dtype: np.dtype | type,
    fill: float | None,
) -> None:
    """Add a data set whose rows are those of data sets of other files, one after the other.

    The same sources give the same bytes: h5py's own `create_virtual_dataset` puts the time of day into the
    file.

    Args:
        file: open for writing.
        name: of the data set.
        sources: path and number of rows of each file; a relative path is relative to the folder of `file`.
        their_name: of the data set in the other files; the same if not given.
        size: of a row.
        dtype: of all of them.
        fill: what rows of a file that is missing read as; None for HDF5's own.
    """
    whole = (sum(rows for _, rows in sources), *size)
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_obj_track_times(False)
    if fill is not None:
        properties.set_fill_value(np.array(fill, dtype=dtype))
    space = h5py.h5s.create_simple(whole)
    start = 0
    for path, rows in sources:
        space.select_hyperslab((start, *(0 for _ in size)), (rows, *size))
        properties.set_virtual(
            space, os.fsencode(path), (their_name or name).encode(), h5py.h5s.create_simple((rows, *size))
        )
        start += rows
    space.select_all()
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(dtype, logical=True), space, properties)
