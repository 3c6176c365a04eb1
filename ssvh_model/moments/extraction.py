"""From films to their feature files: decoded as a stream, several films at a time, resumable film by film."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from ssvh_model.errors import UserError
from ssvh_model.features import FeatureMeta
from ssvh_model.files import remove_temporaries
from ssvh_model.locks import hold_lock
from ssvh_model.manifest import Video
from ssvh_model.moments.film_features import FilmFacts, write_film_features
from ssvh_model.moments.grid import GridFrames, prepared_batches
from ssvh_model.moments.segments import Segments
from ssvh_model.progress import Progress
from ssvh_model.video.backbones import Backbone
from ssvh_model.video.container import UnreadableVideo
from ssvh_model.video.places import VideoPlace, place_of
from ssvh_model.video.shard_extraction import pools, sizes_for
from ssvh_model.video.shards import is_finished, shard_key

BATCHES_AHEAD = 2  # of a film, on their way through the backbone while the next one is decoded


class Grid(Protocol):
    """The frames of a film, even in time, in whatever process they are decoded; `GridFrames` says what each
    part is.
    """

    @property
    def step(self) -> float: ...
    @property
    def seconds(self) -> float: ...
    @property
    def cuts(self) -> np.ndarray: ...
    def __len__(self) -> int: ...


Opened = TypeVar("Opened", bound=Grid)


def cut_film(
    video: Video,
    segments: Segments,
    grid: Callable[[float], Opened],
    features: Callable[[Opened], Generator[np.ndarray]],
    *,
    frames: int,
    meta: FeatureMeta,
    path: Path,
    key: str = "",
) -> None:
    """Cut a film into segments and write its feature file, atomically.

    Args:
        video: the film.
        segments: how it is cut.
        grid: gives its frames, so many seconds apart.
        features: of these frames, some at a time, [n, D] float16 each.
        frames: M, frames of a segment.
        meta: how the features are made.
        path: of the feature file.
        key: what the contents follow from (`is_finished`).

    Raises:
        UnreadableVideo: with the reason.
    """
    opened = grid(segments.step(frames))
    if len(opened) < frames:  # it is short, or shorter than its header says
        opened = grid(opened.seconds / frames)

    def facts() -> FilmFacts:
        step, seconds = opened.step, opened.seconds
        spans = segments.spans(len(opened), frames, step=step, seconds=seconds, cuts=opened.cuts)
        return FilmFacts(video.id, video.sha256, meta, frames, step, seconds, spans)

    with closing(features(opened)) as made:
        write_film_features(path, made, facts, key=key)


@dataclass(frozen=True)
class Film:
    """A film whose features are made.

    Attributes:
        video: as it was given.
        path: of the feature file.
    """

    video: Video
    path: Path


def extract_films(
    videos: Sequence[Video],
    root: Path | str,
    backbone: Backbone,
    segments: Segments,
    *,
    frames: int,
    batch_size: int,
    folder: Path,
    workers: int,
    progress: Progress,
) -> tuple[list[Film], list[Video]]:
    """Write a feature file for each film, in `folder`.

    Interrupted at any time, even by a kill, it goes on in the same `folder` with the films that were being
    worked on. A film gives the same bytes on one machine, whatever `workers` and the other films are.

    Args:
        videos: usable, and so long that they are cut.
        root: the folder, or its address, that the videos' paths are relative to; films of an address are
            fetched as they are decoded, and not kept.
        backbone: the image network.
        segments: how films are cut.
        frames: M, frames of a segment.
        batch_size: frames that go through the backbone together.
        folder: where the files go.
        workers: films that are decoded at a time.
        progress: counts films.

    Returns:
        The films, in the order of `videos`, and the videos that are left out, with the reason.

    Raises:
        UserError: the backbone's values are beyond float16.
        StorageAway: a film can't be fetched.
    """
    settings = {**vars(backbone.meta), **vars(segments), "frames": frames, "batch_size": batch_size}
    place = place_of(str(root))
    films: list[Film] = []
    left_out: list[Video] = []
    given_up = threading.Event()
    with (
        hold_lock(folder / "locks" / "films"),
        pools(workers, backbone) as (decoders, networks),
        _set_at_an_error(given_up),
    ):
        remove_temporaries(folder)
        made: list[Future[str]] = []
        paths = [folder / f"film-{shard_key([video], settings)[:32]}.h5" for video in videos]
        for video, path in zip(videos, paths, strict=True):
            job = _FilmExtraction(video, place, backbone, segments, frames, batch_size, networks, given_up)
            made.append(decoders.submit(job.run, path, shard_key([video], settings)))
        for number, (video, path, done) in enumerate(zip(videos, paths, made, strict=True), start=1):
            if reason := done.result():
                left_out.append(video.left_out(reason))
            else:
                films.append(Film(video, path))
            progress(number, len(videos))
    return films, left_out


@contextmanager
def _set_at_an_error(event: threading.Event) -> Iterator[None]:
    """Films that are being worked on are left at ctrl-C: the rest of one may take an hour."""
    try:
        yield
    except BaseException:
        event.set()
        raise


class _GivenUp(Exception):
    """Nobody waits for the film any more."""


@dataclass(frozen=True)
class _FilmExtraction:
    video: Video
    place: VideoPlace
    backbone: Backbone
    segments: Segments
    frames: int
    batch_size: int
    networks: ThreadPoolExecutor
    given_up: threading.Event

    def run(self, path: Path, key: str) -> str:
        """Make the file if it is not there; "" or why it can't be made."""
        if is_finished(path, key):
            return ""
        try:
            with self.place.opened(self.video) as file:
                cut_film(
                    self.video,
                    self.segments,
                    partial(self._grid, file),
                    self._features,
                    frames=self.frames,
                    meta=self.backbone.meta,
                    path=path,
                    key=key,
                )
        except UnreadableVideo as error:
            return error.reason
        return ""

    def _grid(self, file: Path, step: float) -> GridFrames:
        return GridFrames(file, step, sizes_for(self.backbone), cuts_from=self.segments.cuts_from)

    def _features(self, grid: GridFrames) -> Generator[np.ndarray]:
        ahead: deque[Future[Tensor]] = deque()
        for batch in prepared_batches(grid, self.backbone, self.batch_size):
            if self.given_up.is_set():
                raise _GivenUp
            ahead.append(self.networks.submit(self.backbone.features, batch))
            if len(ahead) > BATCHES_AHEAD:
                yield self._halves(ahead.popleft().result())
        while ahead:
            yield self._halves(ahead.popleft().result())

    def _halves(self, features: Tensor) -> np.ndarray:
        half = features.to(torch.float16)
        if not torch.isfinite(half).all():
            raise UserError(f"features.backbone: {self.backbone.name!r} gives values that float16 can't hold")
        return half.numpy()
