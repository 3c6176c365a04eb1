"""A feature file that holds no features, but points to published ones, so that 20 GB are not copied."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import torch

from ssvh_model.corpus.published.sets import FEATURES_KEY
from ssvh_model.corpus.published.sources import FeatureSource, feature_shape
from ssvh_model.errors import UserError
from ssvh_model.features import FeatureMeta, write_meta, write_table
from ssvh_model.files import atomic_path
from ssvh_model.hdf5 import native
from ssvh_model.joined import join_rows
from ssvh_model.manifest import Video
from ssvh_model.progress import Progress, no_progress

BYTES_AT_ONCE = 2**26


def check_features(sources: Sequence[FeatureSource], *, progress: Progress = no_progress) -> None:
    """Read every value once, a few videos at a time, and make sure that training can work with it.

    Args:
        sources: the files.
        progress: counts videos.

    Raises:
        UserError: a file is missing or of another shape than it was, or a value is not finite or beyond
            float16, as which features are handed to the training; names the file and the row.
    """
    total, done = sum(source.shape[0] for source in sources), 0
    for source in sources:
        path = Path(source.path)
        if (found := feature_shape(path)) != source.shape:
            raise UserError(
                f"{path}: has shape {list(found)} now, {list(source.shape)} when the stage corpus read it"
            )
        videos, frames, size = source.shape
        step = max(1, BYTES_AT_ONCE // (frames * size * 4))
        with h5py.File(path, "r") as file:
            for start in range(0, videos, step):
                try:
                    block = torch.from_numpy(native(file[FEATURES_KEY][start : start + step]))
                except (OSError, RuntimeError, ValueError, TypeError) as error:
                    raise UserError(
                        f"{path}: can't be read from row {start} on ({' '.join(str(error).split())})"
                    ) from error
                _check_block(path, block, start)
                progress(done + start + len(block), total)
        done += videos


def _check_block(path: Path, block: torch.Tensor, start: int) -> None:
    limit = torch.finfo(torch.float16).max
    low, high = block.aminmax()  # not a number if one value is
    if low >= -limit and high <= limit:
        return
    flat = block.flatten(1)
    row = int(torch.nonzero(~((flat >= -limit) & (flat <= limit)).all(dim=1))[0])
    value = next(float(one) for one in flat[row] if not -limit <= one <= limit)
    raise UserError(
        f"{path}: {FEATURES_KEY!r}, row {start + row}, holds {value:g}; allowed are finite numbers up to {limit:g}"
    )


def link_features(
    path: Path, sources: Sequence[FeatureSource], videos: Sequence[Video], *, dataset: str, readable_in: Path
) -> None:
    """Write a feature file whose data set `features` is a view on the published files (an HDF5 virtual data
    set), atomically.

    Args:
        path: the feature file.
        sources: the published files; a path that is not absolute is relative to the present folder.
        videos: the rows, in the order of the files.
        dataset: named in the file as what made the features.
        readable_in: folder from which the file will be read. Pointers to relative paths are relative to it,
            so that a project can be moved with its files, and gives the same bytes wherever it is.
    """
    rows = sum(source.shape[0] for source in sources)
    if rows != len(videos):
        raise ValueError(f"{len(videos)} videos for {rows} rows")
    _, frames, size = sources[0].shape
    readable = [
        source.path if os.path.isabs(source.path) else os.path.relpath(source.path, readable_in)
        for source in sources
    ]
    held = [(path, source.shape[0]) for path, source in zip(readable, sources, strict=True)]
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        # What is missing reads as "not a number", never as zeros that look like features.
        join_rows(
            file,
            "features",
            held,
            their_name=FEATURES_KEY,
            size=(frames, size),
            dtype=np.dtype(np.float32),
            fill=np.nan,
        )
        write_table(
            file,
            ids=[video.id for video in videos],
            labels=[video.labels for video in videos],
            fine_labels=None,
            splits=[video.split for video in videos],
            groups=None,
        )
        write_meta(file, FeatureMeta(f"published/{dataset}", "", 0), frames=frames)
