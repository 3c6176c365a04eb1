"""From films to their feature files: decoded as a stream, several films at a time, resumable film by film."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ssvh_model.errors import UserError
from ssvh_model.files import remove_temporaries
from ssvh_model.locks import hold_lock
from ssvh_model.manifest import Video
from ssvh_model.moments.film_features import FilmFacts, write_film_features
from ssvh_model.moments.grid import GridFrames, grid_sizes, prepared_batches
from ssvh_model.moments.segments import Segments
from ssvh_model.progress import Progress
from ssvh_model.video.backbones import Backbone
from ssvh_model.video.container import UnreadableVideo
from ssvh_model.video.shard_extraction import pools
from ssvh_model.video.shards import is_finished, shard_key

BATCHES_AHEAD = 2  # of a film, on their way through the backbone while the next one is decoded


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
    root: Path,
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
        root: the folder that the videos' paths are relative to.
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
    """
    settings = {**vars(backbone.meta), **vars(segments), "frames": frames, "batch_size": batch_size}
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
            job = _FilmExtraction(video, root, backbone, segments, frames, batch_size, networks, given_up)
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
    root: Path
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
            grid = self._grid(self.segments.step(self.frames))
            if len(grid) < self.frames:  # it is short, or shorter than its header says
                grid = self._grid(grid.seconds / self.frames)
            write_film_features(path, self._features(grid), lambda: self._facts(grid), key=key)
        except UnreadableVideo as error:
            return error.reason
        return ""

    def _grid(self, step: float) -> GridFrames:
        path, sizes = self.root / self.video.path, grid_sizes(self.backbone)
        return GridFrames(path, step, sizes, cuts_from=self.segments.cuts_from)

    def _facts(self, grid: GridFrames) -> FilmFacts:
        spans = self.segments.spans(
            len(grid), self.frames, step=grid.step, seconds=grid.seconds, cuts=grid.cuts
        )
        return FilmFacts(
            id=self.video.id,
            sha256=self.video.sha256,
            meta=self.backbone.meta,
            frames=self.frames,
            step=grid.step,
            seconds=grid.seconds,
            spans=spans,
        )

    def _features(self, grid: GridFrames) -> Iterator[np.ndarray]:
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
