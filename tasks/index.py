"""Making and changing the index of the project's folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ssvh_model.errors import UserError
from ssvh_model.features import FeatureFile, write_feature_file
from ssvh_model.hdf5 import damage_reported, open_hdf5
from ssvh_model.index.coded_videos import CodedVideos, CodesFile
from ssvh_model.index.index_folder import IndexFolder, IndexSettings
from ssvh_model.index.snapshot import open_snapshot
from ssvh_model.manifest import Video
from ssvh_model.progress import Progress
from tasks.encode_videos import encode_features, encode_videos, find_videos, remove_work
from tasks.hasher_source import HasherSource, find_hasher, local_hasher

if TYPE_CHECKING:
    from tasks.params import Params

ADDED = "added"  # folder in the index's, with the features of videos that were added one by one

Progresses = Callable[[str], Progress]


def settings_of(params: Params) -> IndexSettings:
    """How a new index is to search."""
    return IndexSettings(params.index.exact_up_to, params.index.cells, params.index.probes)


def build_index(
    folder: Path, content: Path, params: Params, *, hasher: str | None, progress: Progresses
) -> CodedVideos:
    """Put an index of a codes file's videos, or a feature file's, in the place of what is there.

    Args:
        folder: of the index.
        content: the codes file or feature file.
        params: params.yaml; its section `index`.
        hasher: that makes the codes, or made those of the codes file; None for that of params.yaml, or the one that the codes file names.
        progress: makes a progress for something that is counted.

    Returns:
        What is in the index now.

    Raises:
        UserError: the file is neither of the two, or the hasher is not there, or not the one that made the codes.
    """
    if is_codes_file(content):
        videos = CodesFile(content).whole()
        if hasher is None and not videos.hasher.model:
            raise UserError(
                f"{content}: its codes are by a hasher out of a folder; say which with --hasher FOLDER"
            )
        named = hasher or f"models:/{videos.hasher.model}/{videos.hasher.version}"
        source = find_hasher(named, model=params.register_.model)
        if source.sha256 != videos.hasher.sha256:
            raise UserError(
                f"{content}: its codes are by {videos.hasher.name}, not by {source.name} ({source.sha256[:12]})"
            )
    else:
        source = find_hasher(hasher or params.index.hasher, model=params.register_.model)
        videos = encode_features(FeatureFile(content), source, params, progress=progress("videos encoded"))
    index = IndexFolder(folder)
    with index.alone():
        index.replace(videos, source.folder, settings_of(params), seed=params.seed)
        shutil.rmtree(folder / ADDED, ignore_errors=True)
    return videos


def is_codes_file(path: Path) -> bool:
    """True for a codes file, False for any other HDF5 file.

    Raises:
        UserError: there is no such file, or it is not HDF5.
    """
    try:
        what = "codes or feature file"
        with damage_reported(path, what), open_hdf5(path, what) as file:
            return "codes" in file
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; allowed is a codes file or a feature file") from None


def add_videos(
    folder: Path,
    places: Sequence[Path],
    params: Params,
    *,
    hasher: str | None,
    label: str | None,
    progress: Progresses,
) -> tuple[CodedVideos, list[Video]]:
    """Encode videos with the index's own hasher and add them. Their features are kept for the next hasher.

    Args:
        folder: of the index.
        places: video files and folders.
        params: params.yaml.
        hasher: that the caller expects the index to have; None for any.
        label: of all of them; None for the names of sub-folders.
        progress: makes a progress for something that is counted.

    Returns:
        What was added, and the videos that could not be read.

    Raises:
        UserError: there is no index, its codes are by another hasher than expected, it has a video of the same id, or no video can be read.
    """
    index = IndexFolder(folder)
    source = hasher_of_index(index)
    if hasher is not None:
        refuse_other(index, find_hasher(hasher, model=params.register_.model))
    videos = find_videos(places, params, label=label, progress=progress("videos looked at"))
    refuse_known(index, videos)
    encoded = encode_videos(videos, source, params, progress=progress)
    with index.alone():
        (folder / ADDED).mkdir(exist_ok=True)
        number = 1 + max((int(path.stem) for path in (folder / ADDED).glob("*.h5")), default=0)
        # Before the codes: features that belong to no video do no harm, a video without them would be lost to the next hasher.
        _keep_features(FeatureFile(encoded.features), folder / ADDED / f"{number:06d}.h5")
        index.add(encoded.coded, seed=params.seed)
    remove_work(encoded)
    return encoded.coded, encoded.left_out


def _keep_features(made: FeatureFile, path: Path) -> None:
    """A file of its own, whatever other files the one that was made leans on."""
    every = range(len(made))
    write_feature_file(
        path,
        made.read(every).numpy(),
        ids=made.ids,
        labels=made.labels,
        splits=made.splits,
        meta=made.meta,
        frame_indices=made.frame_indices,
    )


def remove_videos(folder: Path, ids: Sequence[str], params: Params) -> None:
    """Take videos out of the index.

    Raises:
        UserError: there is no index, or it has no such video.
    """
    index = IndexFolder(folder)
    open_snapshot(folder)
    with index.alone():
        index.remove(ids, seed=params.seed)


def hasher_of_index(index: IndexFolder) -> HasherSource:
    """The index's copy of the hasher that made its codes.

    Raises:
        UserError: there is no index, or the copy is not what it was.
    """
    made = open_snapshot(index.folder).hasher
    source = local_hasher(index.hasher_folder())
    if source.sha256 != made.sha256:
        raise UserError(f"{source.folder}: not the hasher that made the codes of this index, {made.name}")
    return replace(source, model=made.model, version=made.version)


def refuse_other(index: IndexFolder, hasher: HasherSource) -> None:
    """Make sure that the index's codes are by a hasher.

    Raises:
        UserError: they are by another one.
    """
    made = open_snapshot(index.folder).hasher
    if made.sha256 != hasher.sha256:
        raise UserError(
            f"{index.folder}: its codes are by {made.name}, not by {hasher.name} ({hasher.sha256[:12]}); codes of different hashers "
            "can't be compared, `ssvh index` encodes all videos anew"
        )


def refuse_known(index: IndexFolder, videos: Sequence[Video]) -> None:
    """Say early, before anything is decoded, that a video is in the index already."""
    known = set(open_snapshot(index.folder).ids())
    for video in videos:
        if video.id in known:
            raise UserError(
                f"{index.folder}: has a video {video.id!r} already; `ssvh remove {video.id}` takes it out"
            )
