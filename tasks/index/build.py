"""Making and changing the index of the project's folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ssvh_model.errors import UserError
from ssvh_model.features import FeatureFile, FeatureMeta, write_feature_file
from ssvh_model.files import atomic_path
from ssvh_model.hdf5 import damage_reported, open_hdf5
from ssvh_model.index.coded_videos import CodedVideos, CodesFile
from ssvh_model.index.file_paths import path_in_index, project_of
from ssvh_model.index.index import Index, open_index
from ssvh_model.index.index_folder import KeepFeatures
from ssvh_model.index.known import Known, id_taken
from ssvh_model.index.settings import IndexSettings
from ssvh_model.manifest import NothingReadable, Video
from ssvh_model.moments.film_features import FilmFile
from ssvh_model.progress import Progress
from tasks.index.encode import encode_features, segments_of
from tasks.index.free_ids import has_dot_part
from tasks.index.given_videos import EncodedVideos, encode_videos, find_given_videos, remove_work, work_of
from tasks.machine.progress import Say
from tasks.registry.find_hasher import HasherSource, find_hasher, hasher_of_index

if TYPE_CHECKING:
    from tasks.params.sections import Params

Progresses = Callable[[str], Progress]


def settings_of(params: Params) -> IndexSettings:
    """How a new index is to search."""
    index = params.index
    return IndexSettings(index.exact_up_to, index.cells, index.probes, index.approximate, index.reach)


def build_index(
    place: str | Path, content: Path, params: Params, *, hasher: str | None, say: Say, progress: Progresses
) -> CodedVideos:
    """Put an index of a codes file's videos, or a feature file's, in the place of what is there.

    Args:
        place: of the index, as `open_index` has it.
        content: the codes file or feature file.
        params: params.yaml; its section `index`.
        hasher: that makes the codes, or made those of the codes file; None for that of params.yaml, or the
            one that the codes file names.
        say: takes a line if another process is changing the index, which is then waited for.
        progress: makes a progress for something that is counted.

    Returns:
        What is in the index now.

    Raises:
        UserError: the file is neither of the two, or the hasher is not there, or not the one that made the
            codes.
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
    index = open_index(place)
    with index.alone(say):
        index.replace(
            _from_project(videos, project_of(index.name)),
            source.folder,
            settings_of(params),
            seed=params.seed,
            card=source.card,
            keep_features=False,
        )
    return videos


def _from_project(videos: CodedVideos, project: Path) -> CodedVideos:
    """The same with paths as an index of that project has them; they are relative to the current folder."""
    if project.resolve() == Path.cwd().resolve():
        return videos
    here = {path: path and path_in_index(path, project) for path in {*videos.paths, videos.source}}
    return replace(videos, paths=[here[path] for path in videos.paths], source=here[videos.source])


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


@dataclass(frozen=True)
class Features:
    """Features of one video.

    Attributes:
        values: [M, D] float16.
        frame_indices: [M] int32, which frames they are of.
        meta: how they were made.
    """

    values: np.ndarray
    frame_indices: np.ndarray
    meta: FeatureMeta


@dataclass(frozen=True)
class Addition:
    """What became of videos that were to be added.

    Attributes:
        added: ids of those that are new in the index.
        there: ids of those that an earlier call had added.
        left_out: those that could not be read.
    """

    added: Sequence[str]
    there: Sequence[str]
    left_out: Sequence[Video]


def add_videos(
    place: str | Path,
    places: Sequence[Path],
    params: Params,
    *,
    hasher: str | None,
    label: str | None,
    say: Say,
    progress: Progresses,
) -> Addition:
    """Encode videos with the index's own hasher and add them. Their features are kept for the next hasher.

    After a kill at any time the same call does what is left to do: a video that was added from the same file
    is not added again. A video whose id the index has for another file gets the folder's name before its id.

    Args:
        place: of the index, as `open_index` has it.
        places: video files and folders.
        params: params.yaml.
        hasher: that the caller expects the index to have; None for any.
        label: of all of them; None for the names of sub-folders.
        say: takes a line if another process is changing the index, which is then waited for.
        progress: makes a progress for something that is counted.

    Raises:
        UserError: there is no index, its codes are by another hasher than expected, it has a
            video of the same id that may be the same, or no video can be read.
    """
    index = open_index(place)
    source = hasher_of_index(index)
    expected = find_hasher(hasher, model=params.register_.model) if hasher is not None else None
    if expected is not None:
        refuse_other(index, expected)
    cut, project = segments_of(params), project_of(index.name)
    looked_at = progress("videos looked at")
    videos = find_given_videos(places, params, label=label, progress=looked_at, index=index)
    new = [
        video.left_out("without its ending the name is no id; rename the file")
        if has_dot_part(video.id)
        else video
        for video in new_videos(index, videos)
    ]
    there = sorted({video.id for video in videos} - {video.id for video in new})
    try:
        encoded = (
            encode_videos(new, source, params, segments=cut, progress=progress, project=project)
            if new
            else None
        )
        left_out = encoded.left_out if encoded is not None else []
    except NothingReadable as error:
        if not there:
            raise
        encoded, left_out = None, error.videos
    added: list[str] = []
    with index.alone(say):  # with nothing to add, too: it removes what a killed call has left
        if encoded is not None:
            now = hasher_of_index(index)
            if now.sha256 != source.sha256:
                # The index was switched meanwhile. Features that fit are not made again.
                if expected is not None:
                    refuse_other(index, expected)
                encoded = encode_videos(new, now, params, segments=cut, progress=progress, project=project)
            added = _add(index, encoded, new)
            there += [video for video in dict.fromkeys(encoded.coded.ids) if video not in added]
            remove_work(encoded.work)
    for which in (new, videos):  # `videos` for a call that was killed when all was added
        remove_work(work_of(which, source.load()[1]))
    return Addition(added, there, left_out)


def _add(index: Index, encoded: EncodedVideos, videos: Sequence[Video]) -> list[str]:
    """Add what another process has not added meanwhile; returns its ids. The lock must be held."""
    new = {video.id: video for video in new_videos(index, videos)}
    rows = [row for row, video in enumerate(encoded.coded.ids) if video in new]
    if not rows:
        return []
    coded = encoded.coded.rows(rows)
    index.add(coded, features_to_keep(encoded, new))
    return list(dict.fromkeys(coded.ids))


def features_to_keep(encoded: EncodedVideos, videos: Mapping[str, Video]) -> KeepFeatures:
    """What writes the features of some of the videos that were encoded, for the index to keep.

    Args:
        encoded: the videos.
        videos: which of them, by id.
    """

    def write(next_path: Callable[[], Path]) -> None:
        if encoded.features is not None:
            made = FeatureFile(encoded.features)
            rows = [row for row, video in enumerate(made.ids) if video in videos]
            if rows:
                _write_kept(made, rows, [videos[made.ids[row]].sha256 for row in rows], next_path())
        for film in encoded.films:
            if FilmFile(film).facts.id in videos:
                _link_or_copy(film, next_path())

    return write


def _link_or_copy(film: Path, path: Path) -> None:
    """The file stays where it was made, too, until the video is in the index: making it again may take
    hours.
    """
    with atomic_path(path) as temporary:
        try:
            os.link(film, temporary)
        except OSError:  # another file system, or one without links
            shutil.copyfile(film, temporary)


def _write_kept(made: FeatureFile, rows: Sequence[int], digests: Sequence[str], path: Path) -> None:
    """A file of its own, whatever other files the one that was made leans on."""
    write_feature_file(
        path,
        made.read(rows).numpy(),
        ids=[made.ids[row] for row in rows],
        labels=[made.labels[row] for row in rows],
        splits=[made.splits[row] for row in rows],
        meta=made.meta,
        frame_indices=made.frame_indices[rows],
        sha256=digests,
    )


def add_encoded(index: Index, video: Video, one: CodedVideos, features: Features | Path) -> None:
    """Add one video that was decoded and encoded elsewhere, and keep its features for the next hasher. The
    index's lock must be held.

    Args:
        index: to add to.
        video: with the digest of its file.
        one: all rows of the same video, with codes by the index's hasher.
        features: that the codes were made of: of a whole video, or the feature file of a film.

    Raises:
        UserError: as `Index.add`.
    """

    def keep(next_path: Callable[[], Path]) -> None:
        if isinstance(features, Path):
            _link_or_copy(features, next_path())
            return
        write_feature_file(
            next_path(),
            features.values[None],
            ids=[video.id],
            labels=[video.labels],
            splits=[video.split],
            meta=features.meta,
            frame_indices=features.frame_indices[None],
            sha256=[video.sha256],
        )

    index.add(one, keep)


def new_videos(index: Index, videos: Sequence[Video]) -> list[Video]:
    """Those that are not in the index, said before anything is decoded.

    Raises:
        UserError: the index has another video of the same id.
    """
    known, project = index.known([video.id for video in videos]), project_of(index.name)
    for video in videos:
        wanted = Known("|".join(video.labels), path_in_index(Path("/") / video.path, project), video.sha256)
        if video.id in known and known[video.id] != wanted:
            raise id_taken(index.name, video.id)
    return [video for video in videos if video.id not in known]


def remove_videos(place: str | Path, ids: Sequence[str], params: Params, *, say: Say) -> list[str]:
    """Take videos out of the index. Those that were taken out before stay out.

    Returns:
        Ids that were taken out now.

    Raises:
        UserError: there is no index, or it never had such a video.
    """
    index = open_index(place)
    index.snapshot()
    with index.alone(say):
        return index.remove(ids)


def refuse_other(index: Index, hasher: HasherSource) -> None:
    """Make sure that the index's codes are by a hasher.

    Raises:
        UserError: they are by another one.
    """
    made = index.snapshot().hasher
    if made.sha256 != hasher.sha256:
        raise UserError(
            f"{index.name}: its codes are by {made.name}, not by {hasher.name} ({hasher.sha256[:12]}); codes of different hashers "
            "can't be compared, `ssvh index` encodes all videos anew"
        )
