"""Features of a few videos a file, whole or absent, and the two files that join them without copying.

A kill at any time loses at most the videos of the shard that was being worked on. Shards lean on nothing but
their videos and the settings, so that different workers can make different ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import h5py
import numpy as np

from ssvh_model.features import FeatureMeta, write_meta, write_table
from ssvh_model.files import atomic_path
from ssvh_model.joined import join_rows
from ssvh_model.manifest import Video

SHARDS = "shards"  # folder of the shards beside the files that join them
SHARD_VIDEOS = 64
MOST_SHARDS = 1000  # every reader of the joined file opens each of them once
JPEG = h5py.vlen_dtype(np.uint8)


@dataclass(frozen=True)
class Extracted:
    """What decoding and the backbone made of one video.

    Attributes:
        features: [M, D] float16.
        indices: [M] int32, places of the frames in the file.
        thumbnails: M JPEG files as bytes.
        total: number of decodable frames.
        remark: "" or how a file at fault was handled.
    """

    features: np.ndarray
    indices: np.ndarray
    thumbnails: list[bytes]
    total: int
    remark: str


class ShardProgress(Protocol):
    """Called with the number of a shard and how many of its videos are done."""

    def __call__(self, number: int, done: int) -> None: ...


def shards_of(videos: Sequence[Video]) -> list[list[Video]]:
    """The usable videos in their order, `SHARD_VIDEOS` at a time, or more where that would make more than
    `MOST_SHARDS`.
    """
    usable = [video for video in videos if video.usable]
    size = max(SHARD_VIDEOS, -(-len(usable) // MOST_SHARDS))
    return [usable[start : start + size] for start in range(0, len(usable), size)]


def shard_key(videos: Sequence[Video], settings: dict[str, object]) -> str:
    """Hex digest of everything that a shard's contents follow from."""
    parts = [[video.id, video.path, video.sha256] for video in videos]
    return hashlib.sha256(json.dumps([parts, settings], sort_keys=True).encode()).hexdigest()


def is_finished(path: Path, key: str) -> bool:
    """True if the shard at `path` was made whole, from the inputs that `key` stands for."""
    try:
        with h5py.File(path, "r") as file:
            return file.attrs.get("key") == key
    except OSError:
        return False


def write_shard(path: Path, key: str, results: Sequence[Extracted | str]) -> None:
    """Write the results of a shard's videos atomically; a string is the reason why a video is left out."""
    good = [result for result in results if not isinstance(result, str)]
    outcomes = [
        {"reason": result} if isinstance(result, str) else {"frames": result.total, "remark": result.remark}
        for result in results
    ]
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["key"] = key
        file["outcomes"] = json.dumps(outcomes)
        if good:
            file["features"] = np.stack([result.features for result in good])
            file["frame_indices"] = np.stack([result.indices for result in good])
            thumbnails = file.create_dataset("thumbnails", file["frame_indices"].shape, dtype=JPEG)
            write_jpegs(thumbnails, 0, _as_objects([result.thumbnails for result in good]))


def read_outcomes(path: Path, videos: Sequence[Video]) -> list[Video]:
    """The shard's videos as they are after decoding: left out with the reason, or with what was found."""
    with h5py.File(path, "r") as file:
        outcomes = json.loads(file["outcomes"][()])
    return [
        video.left_out(outcome["reason"])
        if "reason" in outcome
        else replace(video, frames=outcome["frames"], reason=outcome["remark"] or video.reason)
        for video, outcome in zip(videos, outcomes, strict=True)
    ]


def join_shards(
    paths: Sequence[Path], videos: Sequence[Video], *, meta: FeatureMeta, shape: tuple[int, int], folder: Path
) -> None:
    """Write `features.h5` and `thumbnails.h5` in `folder`, whose large data sets are views on the shards
    (HDF5 virtual data sets).

    Nothing is copied, so a shard must not be changed or removed afterwards. The two files point to the shards
    relative to themselves: `folder` can be moved as a whole.

    Args:
        paths: the shards in order, in or under `folder`.
        videos: the videos that they hold features of, in order: the rows.
        meta: how the features were made.
        shape: (M, D).
        folder: where the two files go.
    """
    ids = [video.id for video in videos]
    with (
        atomic_path(folder / "features.h5") as features_path,
        atomic_path(folder / "thumbnails.h5") as thumbnails_path,
        h5py.File(features_path, "w") as feature_file,
        h5py.File(thumbnails_path, "w") as thumbnail_file,
    ):
        held = [(path.relative_to(folder).as_posix(), rows) for path in paths if (rows := _rows_in(path))]
        # What is missing reads as "not a number", never as zeros that look like features.
        join_rows(feature_file, "features", held, size=shape, dtype=np.dtype(np.float16), fill=np.nan)
        feature_file["frame_indices"] = _read_all(paths, "frame_indices")
        write_table(
            feature_file,
            ids=ids,
            labels=[video.labels for video in videos],
            fine_labels=[video.fine_labels for video in videos],
            splits=[video.split for video in videos],
            groups=[video.group for video in videos],
        )
        write_meta(feature_file, meta, frames=shape[0])
        thumbnail_file.create_dataset(
            "ids", data=np.array(ids, dtype=object), dtype=h5py.string_dtype("utf-8")
        )
        join_rows(thumbnail_file, "thumbnails", held, size=shape[:1], dtype=JPEG, fill=None)


def _rows_in(path: Path) -> int:
    """Rows of features in a shard; 0 if not one of its videos could be read."""
    with h5py.File(path, "r") as shard:
        return len(shard["features"]) if "features" in shard else 0


def _read_all(paths: Sequence[Path], name: str) -> np.ndarray:
    parts = []
    for path in paths:
        with h5py.File(path, "r") as shard:
            if name in shard:
                parts.append(shard[name][:])
    return np.concatenate(parts)


def write_jpegs(dataset: h5py.Dataset, start: int, files: np.ndarray) -> None:
    """Write JPEG files [n, M], arrays of bytes, as the rows of `dataset` from `start` on."""
    if len({file.size for file in files.flat}) > 1:
        dataset[start : start + len(files)] = files
        return
    # Arrays that happen to be of one length are taken by h5py for one array with a third axis.
    for row, column in np.ndindex(files.shape):
        dataset[start + row, column] = files[row, column]


def _as_objects(rows: Sequence[Sequence[bytes]]) -> np.ndarray:
    objects = np.empty((len(rows), len(rows[0])), dtype=object)
    for place in np.ndindex(objects.shape):
        objects[place] = np.frombuffer(rows[place[0]][place[1]], dtype=np.uint8)
    return objects
