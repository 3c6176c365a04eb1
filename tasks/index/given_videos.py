"""Codes of video files: their features are made first, and films are cut into segments."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ssvh_model.errors import UserError
from ssvh_model.features import FeatureFile, FeatureMeta
from ssvh_model.index.coded_videos import CodedVideos, whole_spans
from ssvh_model.index.file_paths import path_in_index
from ssvh_model.index.index import Index
from ssvh_model.manifest import NothingReadable, Video
from ssvh_model.moments.film_features import FilmFile
from ssvh_model.moments.segments import Segments
from ssvh_model.progress import Progress, no_progress
from tasks import paths
from tasks.index.encode import encode_features, encode_film
from tasks.index.free_ids import with_free_ids
from tasks.machine.device import pick_device, pick_workers
from tasks.pipeline.work import use_work
from tasks.registry.find_hasher import HasherSource

if TYPE_CHECKING:
    from ssvh_model.video.backbones import Backbone
    from ssvh_model.video.places import VideoPlace
    from tasks.params.sections import Params


@dataclass(frozen=True)
class EncodedVideos:
    """Codes of video files.

    Attributes:
        coded: those that could be read; first the whole ones.
        left_out: those that could not, with the reason.
        features: the feature file of the whole ones that was made on the way; None if there is none.
        films: feature files of those that were cut into segments.
        work: the files' folder, for whoever has taken what is needed to remove.
    """

    coded: CodedVideos
    left_out: list[Video]
    features: Path | None
    films: list[Path]
    work: Path


def find_given_videos(
    places: Sequence[Path],
    params: Params,
    *,
    label: str | None,
    progress: Progress,
    index: Index | None = None,
) -> list[Video]:
    """The videos among files and folders.

    Args:
        places: video files, and folders, in which videos are looked for as the corpus source "folder" does
            without a table.
        params: `running.workers`.
        label: of all of them; None for the names of the sub-folders.
        progress: counts videos.
        index: that they are to be added to.

    Returns:
        Videos with paths from the root of the file system, each file once. Ids are paths within a folder,
        without their ending; of single files, their names. Where another of them, or of the index, has
        it, the folder's name comes before it (`with_free_ids`).

    Raises:
        UserError: a place does not exist, or a folder has no videos.
    """
    from ssvh_model.corpus.folder import FolderColumns, scan_folder
    from ssvh_model.video.places import LocalPlace

    columns = FolderColumns(file="", label=None, fine_label=None, group=None, split=None)
    found: list[Video] = []
    for place in places:
        if place.is_dir():
            workers = pick_workers(params.running.workers)
            inside = scan_folder(
                LocalPlace(place), labels_csv=None, columns=columns, workers=workers, progress=progress
            )
            found += [_from_root(place / video.path, video) for video in inside]
        elif place.is_file():
            found.append(_single(place))
        else:
            raise UserError(f"{place}: no such file or folder")
    of_files: dict[str, Video] = {}
    for video in found:
        of_files.setdefault(video.path, video)
    return [_with_label(video, label) for video in with_free_ids(list(of_files.values()), index)]


def _single(path: Path) -> Video:
    from ssvh_model.files import sha256_of
    from ssvh_model.video.decoding import UnreadableVideo, probe

    video = _from_root(path, Video(id=path.stem, path=""))
    try:
        seen = probe(path)
    except UnreadableVideo as error:
        return video.left_out(error.reason)
    return Video(video.id, video.path, frames=seen.frames, duration=seen.duration, sha256=sha256_of(path))


def _from_root(path: Path, video: Video) -> Video:
    # As `path_in_index` finds it.
    return replace(video, path=os.path.realpath(path).lstrip("/"))


def _with_label(video: Video, label: str | None) -> Video:
    return video if label is None else replace(video, labels=(label,))


def encode_videos(
    videos: Sequence[Video],
    hasher: HasherSource,
    params: Params,
    *,
    segments: Segments | None,
    progress: Callable[[str], Progress],
    root: str = "/",
    project: Path | None = None,
) -> EncodedVideos:
    """Codes of video files, and the features that they were made from.

    Interrupted at any time, it goes on where it stopped when it is started again with the same videos.

    Args:
        videos: such as those of `find_given_videos`.
        hasher: that makes the codes.
        params: `features.batch_size`, `features.thumbnail`, `index.batch_size` and `running`.
        segments: how videos that are long enough are cut; None for whole videos.
        progress: makes a progress for something that is counted.
        root: the folder, or its address, that the videos' paths are relative to.
        project: that paths of the codes are relative to (`path_in_index`).

    Raises:
        NothingReadable: not one video can be read.
        UserError: the hasher's features are not made from videos.
        StorageAway: a video can't be fetched.
    """
    from ssvh_model.index.video_encoder import backbone_of
    from ssvh_model.video.places import place_of

    network, wanted = hasher.load()
    place = place_of(root)
    bad = [video for video in videos if not video.usable]
    if len(bad) == len(videos):
        raise NothingReadable(
            f"{place.name_of(bad[0].path)}: {bad[0].reason}" if bad else "no videos were given", list(videos)
        )
    use_work()
    making = _Making(
        hasher,
        params,
        progress,
        backbone_of(
            wanted,
            pick_device(params.running.device),
            model=hasher.image_model(wanted),
            trust_torchscript=params.running.trust_torchscript,
        ),
        network.config.frames,
        place,
        project,
        work_of(videos, wanted),
    )
    whole: list[Video] = []
    films: list[Video] = []
    for video in videos:
        is_film = segments is not None and video.usable and segments.can_cut(video.duration)
        (films if is_film else whole).append(video)
    parts: list[CodedVideos] = []
    left_out = [video for video in whole if not video.usable]
    made: list[Path] = []
    readable = any(video.usable for video in whole)
    if readable:
        try:
            coded, left_out = making.of_whole(whole)
            parts.append(coded)
        except NothingReadable as error:
            if not films:
                raise
            left_out, readable = error.videos, False
    if segments is not None and films:
        of_films, made, unread = making.of_films(films, segments)
        parts += of_films
        left_out += unread
        if not parts:
            raise NothingReadable(f"{place.name_of(unread[0].path)}: {unread[0].reason}", left_out)
    return EncodedVideos(
        parts[0].followed_by(*parts[1:]),
        left_out,
        making.work / "features.h5" if readable else None,
        made,
        making.work,
    )


@dataclass(frozen=True)
class _Making:
    """Makes features and codes of videos, in a folder."""

    hasher: HasherSource
    params: Params
    progress: Callable[[str], Progress]
    backbone: Backbone
    frames: int
    place: VideoPlace
    project: Path | None
    work: Path

    def of_whole(self, videos: Sequence[Video]) -> tuple[CodedVideos, list[Video]]:
        """Codes of whole videos, and those that are left out.

        Raises:
            NothingReadable: not one of them can be read.
        """
        from ssvh_model.video.extraction import extract_features

        done = extract_features(
            [replace(video, split="database") for video in videos],
            self.place.name_of(""),
            self.backbone,
            frames=self.frames,
            batch_size=self.params.features.batch_size,
            thumbnail=self.params.features.thumbnail,
            folder=self.work,
            workers=pick_workers(self.params.running.workers),
            progress=self.progress("videos"),
        )
        made = FeatureFile(self.work / "features.h5")
        coded = encode_features(made, self.hasher, self.params, progress=self.progress("videos encoded"))
        readable = {video.id: video for video in done if video.usable}
        durations = np.array([readable[video].duration for video in coded.ids], dtype=np.float32)
        coded = replace(
            coded,
            paths=[
                path_in_index(self.place.name_of(readable[video].path), self.project) for video in coded.ids
            ],
            durations=durations,
            spans=whole_spans(durations),
            source="",
        )
        return coded, [video for video in done if not video.usable]

    def of_films(
        self, videos: Sequence[Video], segments: Segments
    ) -> tuple[list[CodedVideos], list[Path], list[Video]]:
        """Codes of films' segments, one part a film, their feature files, and the films that are left out."""
        from ssvh_model.moments.extraction import extract_films

        films, left_out = extract_films(
            videos,
            self.place.name_of(""),
            self.backbone,
            segments,
            frames=self.frames,
            batch_size=self.params.features.batch_size,
            folder=self.work / "films",
            workers=pick_workers(self.params.running.workers),
            progress=self.progress("films"),
        )
        parts = []
        said = self.progress("films encoded")
        for number, film in enumerate(films, start=1):
            coded = encode_film(FilmFile(film.path), self.hasher, self.params, progress=no_progress)
            parts.append(
                replace(
                    coded,
                    labels=["|".join(film.video.labels)] * len(coded),
                    paths=[path_in_index(self.place.name_of(film.video.path), self.project)] * len(coded),
                    durations=np.full(len(coded), film.video.duration, dtype=np.float32),
                )
            )
            said(number, len(films))
        return parts, [film.path for film in films], left_out


def work_of(videos: Sequence[Video], features: FeatureMeta) -> Path:
    """Where the features of videos are made: the same folder for the same videos."""
    key = json.dumps([[video.id, video.path, video.sha256] for video in videos] + [vars(features)])
    return paths.WORK / "encode" / hashlib.sha256(key.encode()).hexdigest()[:16]


def remove_work(work: Path) -> None:
    """Remove what the extraction has left behind."""
    shutil.rmtree(work, ignore_errors=True)
