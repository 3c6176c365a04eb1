"""Codes and features of files that are uploaded to stay: films are cut as `ssvh add` cuts them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ssvh_model.errors import UserError
from ssvh_model.index.coded_videos import whole_spans
from ssvh_model.manifest import Video
from ssvh_model.moments.extraction import cut_film
from ssvh_model.moments.film_features import FilmFile
from ssvh_model.moments.segments import Segments
from tasks import paths
from tasks.index.build import Features
from tasks.index.encode import segments_of
from tasks.params.load import load_params
from tasks.params.sections import Params
from tasks.serving.decoding import Decoding, FilmFrames, Probed
from tasks.serving.encoding import Encoding, LoadedHasher
from tasks.serving.problems import NOT_READY, Problem

MOST_AT_ONCE = 64  # frames of a film on their way from one process to another
FEATURES = "film.h5"


@dataclass(frozen=True)
class EncodedUpload:
    """A file, ready for the index.

    Attributes:
        video: that it is, with its duration.
        format: of the container, as FFmpeg names it.
        codes: packed, of all of it or of each of its segments, [rows, ceil(K / 8)] uint8.
        spans: seconds at which what they are of starts and ends, [rows, 2].
        features: that they were made of: of the whole video, or the feature file of a film.
    """

    video: Video
    format: str
    codes: np.ndarray
    spans: np.ndarray
    features: Features | Path

    @property
    def is_film(self) -> bool:
        """Whether it is cut into segments."""
        return isinstance(self.features, Path)


class UploadEncoding:
    """Encodes uploads, cut as params.yaml says at that moment; whole where there is none.

    Args:
        decoding, encoding: the processes that do it.

    Attributes:
        films: those that are being cut, by id, and how much of each is, 0 to 1.
    """

    def __init__(self, decoding: Decoding, encoding: Encoding) -> None:
        self._decoding, self._encoding = decoding, encoding
        self.films: dict[str, float] = {}

    def encode(self, clip: Path, video: Video, hasher: LoadedHasher, folder: Path) -> EncodedUpload:
        """Decode and encode a file.

        Args:
            clip: the file.
            video: its id, labels and digest.
            hasher: that makes the codes.
            folder: where a film's features are made. Those that an earlier call has made there for this file
                are not made again, if another hasher takes them, too.

        Raises:
            HasherGone: another hasher has taken its place.
            Problem: the file can't be read or is beyond the limits, another film is being cut, params.yaml is
                at fault, or the hasher takes no videos.
        """
        try:
            params = load_params() if paths.PARAMS.is_file() else None
        except UserError as error:
            raise Problem(NOT_READY, str(error)) from error
        segments = None if params is None else segments_of(params)
        if params is not None and segments is not None:
            probed = self._decoding.probe(clip)
            if segments.can_cut(probed.seconds):
                return self._film(clip, video, hasher, folder / FEATURES, params, segments, probed)
        frames = self._decoding.frames(
            clip, count=hasher.frames, longer_side=hasher.longer_side, square=hasher.square
        )
        encoded = self._encoding.encode(hasher, frames)
        return EncodedUpload(
            replace(video, duration=frames.seconds),
            frames.format,
            encoded.code[None],
            whole_spans(np.array([frames.seconds])),
            Features(encoded.features, frames.arrays["indices"], hasher.meta),
        )

    def _film(
        self,
        clip: Path,
        video: Video,
        hasher: LoadedHasher,
        path: Path,
        params: Params,
        segments: Segments,
        probed: Probed,
    ) -> EncodedUpload:
        film = replace(video, duration=probed.seconds)
        if not _fits(path, hasher):
            self._make_features(clip, film, hasher, path, params, segments)
        made = FilmFile(path)
        rows = np.arange(len(made.facts.spans))
        together = np.split(rows, range(params.index.batch_size, len(rows), params.index.batch_size))
        codes = [self._encoding.codes(hasher, made.segments(numbers)) for numbers in together]
        return EncodedUpload(film, probed.format, np.concatenate(codes), made.facts.spans, path)

    def _make_features(
        self,
        clip: Path,
        film: Video,
        hasher: LoadedHasher,
        path: Path,
        params: Params,
        segments: Segments,
    ) -> None:
        def features(frames: FilmFrames) -> Generator[np.ndarray]:
            done = 0
            with closing(frames.batches()) as batches:
                for batch in batches:
                    made = self._encoding.features(hasher, batch)
                    done += len(made)
                    self.films[film.id] = done / len(frames)
                    yield made

        decoded = self._decoding.film(
            clip,
            seconds=film.duration,
            longer_side=hasher.longer_side,
            square=hasher.square,
            cuts_from=segments.cuts_from,
            at_once=min(MOST_AT_ONCE, params.features.batch_size),
        )
        with decoded as frames:
            self.films[film.id] = 0.0
            try:
                cut_film(film, segments, frames, features, frames=hasher.frames, meta=hasher.meta, path=path)
            finally:
                del self.films[film.id]


def _fits(path: Path, hasher: LoadedHasher) -> bool:
    """Whether a film's features are there, and are such as a hasher takes."""
    if not path.is_file():
        return False
    file = FilmFile(path)
    facts = file.facts
    return facts.meta == hasher.meta and (facts.frames, file.size) == (hasher.frames, len(hasher.mean))
