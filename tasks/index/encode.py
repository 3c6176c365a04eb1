"""Codes of videos and films from their feature files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ssvh_model.errors import UserError
from ssvh_model.features import FeatureFile
from ssvh_model.index.coded_videos import CodedVideos, HasherIdentity, whole_spans
from ssvh_model.index.file_paths import path_in_index
from ssvh_model.manifest import Video, read_manifest
from ssvh_model.moments.film_features import FilmFile
from ssvh_model.moments.segments import EvenSegments, Segments
from ssvh_model.moments.shots import Shots
from ssvh_model.progress import Progress
from ssvh_model.retrieval.codes import pack, sign_codes
from tasks import paths
from tasks.machine.device import pick_device
from tasks.registry.find_hasher import HasherSource

if TYPE_CHECKING:
    from tasks.params.sections import Params

FEATURE_SUFFIXES = (".h5", ".hdf5")


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
        params: `index.batch_size`, `running`, by which very many are encoded on a Ray cluster, and `corpus`,
            which tells where the project's videos are.
        rows: of the file; None for all.
        progress: counts videos.

    Raises:
        UserError: these are not the features that the hasher was trained on; or as `encode_on_ray`.
        ServiceAway: as `encode_on_ray`.
    """
    from ssvh_model.training.encoding import encode
    from ssvh_model.training.frame_source import FrameSource
    from tasks.index import on_ray

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
    chosen = np.arange(len(file)) if rows is None else rows
    source = FrameSource.from_file(file, chosen, memory_limit=0)
    if params.running.extraction == "ray" and len(chosen) >= on_ray.LEAST_VIDEOS:
        soft = on_ray.encode_on_ray(
            network, source, params.running, batch_size=params.index.batch_size, say=print, progress=progress
        )
    else:
        device = pick_device(params.running.device)
        soft = encode(
            network.to(device),
            source,
            batch_size=params.index.batch_size,
            device=device,
            progress=progress,
        ).numpy()
    known = _known_videos(file, params)
    durations = np.array(
        [known[file.ids[row]][1] if file.ids[row] in known else 0.0 for row in chosen], dtype=np.float32
    )
    return CodedVideos(
        ids=[file.ids[row] for row in chosen],
        codes=pack(sign_codes(soft)),
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
    from ssvh_model.video.places import place_of

    root = paths.video_root(params.corpus.source, params.corpus.path)
    place, videos = place_of(root), read_manifest(paths.FEATURES_MANIFEST)
    return {
        video.id: (path_in_index(place.name_of(video.path)), video.duration)
        for video in videos
        if video.usable
    }
