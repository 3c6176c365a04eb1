"""The corpus source "published": frame features that others have extracted, with their labels and their
protocol.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ssvh_model.corpus.mat_labels import read_mat_labels
from ssvh_model.corpus.published.sets import FEATURES_KEY, PUBLISHED_SETS, PublishedPart, PublishedSet
from ssvh_model.corpus.splits import SplitSpec, assign_splits
from ssvh_model.errors import UserError
from ssvh_model.files import atomic_path
from ssvh_model.hdf5 import checked_data_set, damage_reported, is_group, open_hdf5
from ssvh_model.manifest import Video
from ssvh_model.progress import Progress, no_progress

MEGABYTE = 2**20


@dataclass(frozen=True)
class FeatureSource:
    """A published feature file.

    Attributes:
        path: where it is, as the user has put it.
        shape: n, M, D.
        sha256: of its bytes.
    """

    path: str
    shape: tuple[int, int, int]
    sha256: str


def read_published(
    folder: Path,
    dataset: str,
    *,
    check_counts: bool,
    split: SplitSpec,
    seed: int,
    progress: Progress = no_progress,
) -> tuple[list[Video], list[FeatureSource]]:
    """Find the files of a data set and describe their videos.

    Validation videos are taken out of the training videos by `split.validation`, balanced over labels and the
    same for a seed; the protocol's database and queries stay what they are.

    Args:
        folder: where the files are.
        dataset: one of `PUBLISHED_SETS`.
        check_counts: insist on the published numbers of videos, frames and feature size; without, any that
            agree will do.
        split: only the share for validation counts here.
        seed: of the choice of validation videos.
        progress: counts megabytes of the feature files, which are read whole for their digests.

    Returns:
        The videos in the order of the files and their rows, and the feature files in the same order.

    Raises:
        UserError: the folder, a file or a data set in it is missing, or shapes, counts or labels are not what
            they must be.
    """
    known = PUBLISHED_SETS[dataset]
    shapes = _shapes(folder, known, dataset, check_counts)
    described = [
        _videos(folder, part, shape[0], shape[1]) for part, shape in zip(known.parts, shapes, strict=True)
    ]
    total = sum((folder / part.features).stat().st_size for part in known.parts) // MEGABYTE
    done = 0
    sources: list[FeatureSource] = []
    for part, shape in zip(known.parts, shapes, strict=True):
        digest, done = _digest(folder / part.features, done, total, progress)
        sources.append(FeatureSource((folder / part.features).as_posix(), shape, digest))
    videos = [
        replace(video, sha256=source.sha256)
        for source, of_source in zip(sources, described, strict=True)
        for video in of_source
    ]
    return _with_validation(videos, split, seed), sources


def _shapes(
    folder: Path, known: PublishedSet, dataset: str, check_counts: bool
) -> list[tuple[int, int, int]]:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; corpus.path says where the feature files are")
    shapes = [feature_shape(folder / part.features) for part in known.parts]
    for part, (videos, frames, size) in zip(known.parts, shapes, strict=True):
        path = folder / part.features
        if check_counts:
            wanted = (part.videos, known.frames, known.feature_size)
            if (videos, frames, size) != wanted:
                raise UserError(
                    f"{path}: {FEATURES_KEY!r} has shape {[videos, frames, size]}; {dataset} has {list(wanted)} "
                    "(corpus.published.counts: ignore allows any, such as a subset)"
                )
        elif (frames, size) != shapes[0][1:]:
            raise UserError(
                f"{path}: {FEATURES_KEY!r} has {frames} frames of size {size}; "
                f"{known.parts[0].features} has {shapes[0][1]} of size {shapes[0][2]}, and all must agree"
            )
    return shapes


def feature_shape(path: Path) -> tuple[int, int, int]:
    """n, M, D of a published feature file.

    Raises:
        UserError: it is missing or damaged, or has no data set of that form.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; it is one of the feature files of corpus.published.dataset")
    with damage_reported(path, "feature file"), open_hdf5(path, "feature file") as file:
        if FEATURES_KEY not in file:
            raise UserError(
                f"{path}: data set {FEATURES_KEY!r} is missing; there is {', '.join(file) or 'nothing'}"
            )
        allowed = "allowed is [videos, frames, size] of float32"
        if is_group(file, FEATURES_KEY):
            raise UserError(f"{path}: {FEATURES_KEY!r} is a group; {allowed}")
        data = checked_data_set(file, FEATURES_KEY)
        if data.ndim != 3 or data.dtype.kind != "f":
            raise UserError(
                f"{path}: {FEATURES_KEY!r} is shape {list(data.shape)} of {data.dtype}; {allowed}"
            )
        shape = tuple(int(length) for length in data.shape)
    if 0 in shape:
        raise UserError(f"{path}: {FEATURES_KEY!r} has shape {list(shape)}; it must not be empty")
    return shape[0], shape[1], shape[2]


def _videos(folder: Path, part: PublishedPart, videos: int, frames: int) -> list[Video]:
    labels: Sequence[tuple[str, ...]] = [()] * videos
    if part.labels is not None:
        path = folder / part.features
        labels = read_mat_labels(folder / part.labels, part.labels_key, videos=videos, features=path)
    return [
        Video(id=f"{part.name}-{row:06d}", path=part.features, labels=names, split=part.split, frames=frames)
        for row, names in enumerate(labels)
    ]


def _digest(path: Path, done: int, total: int, progress: Progress) -> tuple[str, int]:
    """SHA-256 of a file, and the megabytes that are done after it."""
    digest, read = hashlib.sha256(), 0
    with open(path, "rb", buffering=0) as file:
        while block := file.read(4 * MEGABYTE):
            digest.update(block)
            read += len(block)
            progress(min(total, done + read // MEGABYTE), total)
    return digest.hexdigest(), done + read // MEGABYTE


def _with_validation(videos: Sequence[Video], split: SplitSpec, seed: int) -> list[Video]:
    if not split.validation and not split.validation_groups and not split.query_groups:
        return list(videos)
    training = [replace(video, split="") for video in videos if video.split == "train"]
    chosen = {
        video.id: video
        for video in assign_splits(training, replace(split, database=0.0, query=0.0), seed=seed)
    }
    return [chosen.get(video.id, video) for video in videos]


def write_sources(path: Path, sources: Sequence[FeatureSource]) -> None:
    """Write the list of feature files as JSON, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps([asdict(source) for source in sources], indent=2) + "\n")


def read_sources(path: Path) -> list[FeatureSource]:
    """Read what `write_sources` wrote.

    Raises:
        UserError: the file is missing or of another form.
    """
    try:
        return [
            FeatureSource(entry["path"], tuple(entry["shape"]), entry["sha256"])
            for entry in json.loads(path.read_text())
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: no readable list of feature files; the stage 'corpus' makes it") from error
