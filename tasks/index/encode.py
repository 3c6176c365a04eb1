"""Codes of videos: from a feature file, or from video files, whose features are made first."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ssvh_model.errors import UserError
from ssvh_model.features import FeatureFile, FeatureMeta
from ssvh_model.index.coded_videos import CodedVideos, HasherIdentity, whole_spans
from ssvh_model.manifest import NothingReadable, Video, read_manifest
from ssvh_model.moments.film_features import FilmFile
from ssvh_model.moments.segments import EvenSegments, Segments
from ssvh_model.moments.shots import Shots
from ssvh_model.progress import Progress, no_progress
from ssvh_model.retrieval.codes import pack, sign_codes
from tasks import paths
from tasks.machine.device import pick_device, pick_workers
from tasks.pipeline.work import use_work
from tasks.registry.find_hasher import HasherSource

if TYPE_CHECKING:
    from ssvh_model.video.backbones import Backbone
    from tasks.params.sections import Params

FEATURE_SUFFIXES = (".h5", ".hdf5")


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


def identity_of(hasher: HasherSource) -> HasherIdentity:
    """What codes say of the hasher that made them."""
    return HasherIdentity(hasher.model, hasher.version, hasher.sha256)


def encode_features(
    file: FeatureFile,
    hasher: HasherSource,
    params: Params,
    *,
    rows: np.ndarray | None = None,
    progress: Progress,
) -> CodedVideos:
    """Codes of the videos of a feature file.

    Args:
        file: of the stage features, or of that form.
        hasher: that makes the codes.
        params: `index.batch_size`, `running.device`, and `corpus`, which tells where the project's videos
            are.
        rows: of the file; None for all.
        progress: counts videos.

    Raises:
        UserError: these are not the features that the hasher was trained on.
    """
    from ssvh_model.training.encoding import encode
    from ssvh_model.training.frame_source import FrameSource

    network, wanted = hasher.load()
    shape = (network.config.frames, network.config.feature_size)
    if file.shape[1:] != shape:
        raise UserError(
            f"{file.path}: has features of shape {list(file.shape[1:])} a video; {hasher.name} needs {list(shape)}"
        )
    if wanted.weights_sha256 and file.meta != wanted:
        raise UserError(
            f"{file.path}: its features were made with {file.meta}; {hasher.name} needs those of {wanted}"
        )
    device = pick_device(params.running.device)
    chosen = np.arange(len(file)) if rows is None else rows
    soft = encode(
        network.to(device),
        FrameSource.from_file(file, chosen, memory_limit=0),
        batch_size=params.index.batch_size,
        device=device,
        progress=progress,
    )
    known = _known_videos(file, params)
    durations = np.array(
        [known[file.ids[row]][1] if file.ids[row] in known else 0.0 for row in chosen], dtype=np.float32
    )
    return CodedVideos(
        ids=[file.ids[row] for row in chosen],
        codes=pack(sign_codes(soft.numpy())),
        labels=["|".join(file.labels[row]) for row in chosen],
        paths=[known[file.ids[row]][0] if file.ids[row] in known else "" for row in chosen],
        durations=durations,
        spans=whole_spans(durations),
        bits=network.config.bits,
        hasher=identity_of(hasher),
        source=path_in_index(file.path),
    )


def encode_film(file: FilmFile, hasher: HasherSource, params: Params, *, progress: Progress) -> CodedVideos:
    """Codes of a film's segments; nothing is known of its path, its label and the length that its header
    says.

    Args:
        file: of its features.
        hasher: that makes the codes.
        params: `index.batch_size` and `running.device`.
        progress: counts segments.

    Raises:
        UserError: these are not the features that the hasher was trained on.
    """
    from ssvh_model.training.encoding import encode
    from ssvh_model.training.frame_source import FrameSource

    network, wanted = hasher.load()
    facts = file.facts
    shape = (network.config.frames, network.config.feature_size)
    if (facts.frames, file.size) != shape or facts.meta != wanted:
        raise UserError(
            f"{file.path}: its features are {facts.frames} of {file.size} values a segment, made with {facts.meta}; "
            f"{hasher.name} needs {shape[0]} of {shape[1]}, made with {wanted}"
        )
    device = pick_device(params.running.device)
    soft = encode(
        network.to(device),
        FrameSource([facts.id] * len(facts.spans), lambda numbers: torch.from_numpy(file.segments(numbers))),
        batch_size=params.index.batch_size,
        device=device,
        progress=progress,
    )
    return rows_of_video(
        Video(facts.id, "", duration=facts.seconds),
        pack(sign_codes(soft.numpy())),
        facts.spans,
        bits=network.config.bits,
        hasher=identity_of(hasher),
    )


def rows_of_video(
    video: Video, codes: np.ndarray, spans: np.ndarray, *, bits: int, hasher: HasherIdentity, path: str = ""
) -> CodedVideos:
    """The rows of one video in an index, one or one for each of its segments.

    Args:
        video: with its id, labels and duration.
        codes: packed, [rows, ceil(K / 8)] uint8.
        spans: seconds at which what they are of starts and ends, [rows, 2].
        bits: K.
        hasher: that made the codes.
        path: of the video, as the index has it.
    """
    rows = len(codes)
    return CodedVideos(
        ids=[video.id] * rows,
        codes=codes,
        labels=["|".join(video.labels)] * rows,
        paths=[path] * rows,
        durations=np.full(rows, video.duration, dtype=np.float32),
        spans=spans.astype(np.float32),
        bits=bits,
        hasher=hasher,
    )


def segments_of(params: Params) -> Segments | None:
    """How `index.segments` has videos cut; None if they stay whole."""
    from tasks.params.sections import ShotSegments

    chosen = params.index.segments
    if isinstance(chosen, str):
        return None if chosen == "whole" else Shots()
    if isinstance(chosen, ShotSegments):
        return Shots(chosen.threshold)
    return EvenSegments(chosen.seconds, chosen.overlap)


def _known_videos(file: FeatureFile, params: Params) -> dict[str, tuple[str, float]]:
    """Path and seconds of the project's videos; of other feature files' videos nothing is known."""
    if file.path.resolve() != paths.FEATURE_FILE.resolve() or not paths.FEATURES_MANIFEST.is_file():
        return {}
    if params.corpus.source == "published":
        return {}
    from ssvh_model.files import is_address
    from ssvh_model.video.places import place_of

    root = paths.video_root(params.corpus.source, params.corpus.path)
    place, videos = place_of(root), read_manifest(paths.FEATURES_MANIFEST)

    def named(path: str) -> str:
        whole = place.name_of(path)
        return whole if is_address(root) else path_in_index(Path(whole))

    return {video.id: (named(video.path), video.duration) for video in videos if video.usable}


def find_given_videos(
    places: Sequence[Path], params: Params, *, label: str | None, progress: Progress
) -> list[Video]:
    """The videos among files and folders.

    Args:
        places: video files, and folders, in which videos are looked for as the corpus source "folder" does
            without a table.
        params: `running.workers`.
        label: of all of them; None for the names of the sub-folders.
        progress: counts videos.

    Returns:
        Videos with paths from the root of the file system. Ids are paths within a folder, without their
        ending; of single files, their names.

    Raises:
        UserError: a place does not exist, a folder has no videos, or two videos have the same id.
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
    seen: dict[str, str] = {}
    for video in found:
        if video.id in seen:
            raise UserError(
                f"/{video.path}: has the id {video.id!r}, as /{seen[video.id]}; give them in two calls"
            )
        seen[video.id] = video.path
    return [_with_label(video, label) for video in found]


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
    return replace(video, path=path.resolve().relative_to("/").as_posix())


def _with_label(video: Video, label: str | None) -> Video:
    return video if label is None else replace(video, labels=(label,))


def encode_videos(
    videos: Sequence[Video],
    hasher: HasherSource,
    params: Params,
    *,
    segments: Segments | None,
    progress: Callable[[str], Progress],
) -> EncodedVideos:
    """Codes of video files, and the features that they were made from.

    Interrupted at any time, it goes on where it stopped when it is started again with the same videos.

    Args:
        videos: of `find_given_videos`.
        hasher: that makes the codes.
        params: `features.batch_size`, `features.thumbnail`, `index.batch_size` and `running`.
        segments: how videos that are long enough are cut; None for whole videos.
        progress: makes a progress for something that is counted.

    Raises:
        NothingReadable: not one video can be read.
        UserError: the hasher's features are not made from videos.
    """
    from ssvh_model.index.video_encoder import backbone_of

    network, wanted = hasher.load()
    bad = [video for video in videos if not video.usable]
    if len(bad) == len(videos):
        raise NothingReadable(
            f"/{bad[0].path}: {bad[0].reason}" if bad else "no videos were given", list(videos)
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
            raise NothingReadable(f"/{unread[0].path}: {unread[0].reason}", left_out)
    return EncodedVideos(
        joined_codes(parts), left_out, making.work / "features.h5" if readable else None, made, making.work
    )


def joined_codes(parts: Sequence[CodedVideos]) -> CodedVideos:
    """All rows of parts that are by one hasher, at least one."""
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.followed_by(part)
    return whole


@dataclass(frozen=True)
class _Making:
    """Makes features and codes of videos, in a folder."""

    hasher: HasherSource
    params: Params
    progress: Callable[[str], Progress]
    backbone: Backbone
    frames: int
    work: Path

    def of_whole(self, videos: Sequence[Video]) -> tuple[CodedVideos, list[Video]]:
        """Codes of whole videos, and those that are left out.

        Raises:
            NothingReadable: not one of them can be read.
        """
        from ssvh_model.video.extraction import extract_features

        done = extract_features(
            [replace(video, split="database") for video in videos],
            Path("/"),
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
            paths=[path_in_index(Path("/") / readable[video].path) for video in coded.ids],
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
            Path("/"),
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
                    paths=[path_in_index(Path("/") / film.video.path)] * len(coded),
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


def path_in_index(path: Path) -> str:
    """A path as the index keeps it: relative to the project's folder where it is inside."""
    whole, here = path.resolve(), Path.cwd().resolve()
    return whole.relative_to(here).as_posix() if whole.is_relative_to(here) else whole.as_posix()
