"""Extraction of shards on this machine: videos decoded ahead of the backbone, whose batches cross the borders
of videos.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ssvh_model.errors import UserError
from ssvh_model.manifest import Video, stays_inside
from ssvh_model.progress import Progress, no_progress
from ssvh_model.video.backbones import Backbone
from ssvh_model.video.decoding import SampledFrames, Sizes, UnreadableVideo, sample_frames
from ssvh_model.video.places import VideoPlace
from ssvh_model.video.shards import Extracted, ShardProgress

JPEG_QUALITY = 85


def working_side(size: int) -> int:
    """Longer side to which frames are scaled while they are decoded, for a backbone of `size` pixels.

    It leaves the backbone more than it looks at, and does not depend on the thumbnails, so that they never
    change features.
    """
    return max(512, 2 * size)


def sizes_for(backbone: Backbone, *, thumbnail: int = 0) -> Sizes:
    """What `decode_for` asks `sample_frames` for, `longer_side` and `square`; for frames on a grid, and where
    another process decodes.
    """
    return (thumbnail, backbone.size) if backbone.takes_squares else (working_side(backbone.size), None)


def decode_for(backbone: Backbone, path: Path, *, frames: int, thumbnail: int = 0) -> SampledFrames:
    """Frames of a video as `extract_features` shows them to the backbone; whoever encodes single videos must
    use this.

    Args:
        backbone: the image network.
        path: the video.
        frames: M.
        thumbnail: longer side of the pictures that are wanted beside; they may come larger.

    Raises:
        UnreadableVideo: with the reason.
    """
    longer_side, square = sizes_for(backbone, thumbnail=thumbnail)
    return sample_frames(path, frames, longer_side=longer_side, square=square)


def prepared_for(backbone: Backbone, sampled: SampledFrames) -> Tensor:
    """What the backbone takes, of frames that `decode_for` gave."""
    return backbone.prepare(sampled.frames) if sampled.squares is None else torch.from_numpy(sampled.squares)


@dataclass(frozen=True)
class Decoded:
    """A video on its way to the backbone."""

    prepared: Tensor  # [M, size, size, 3] float32
    indices: np.ndarray
    thumbnails: list[bytes]
    total: int
    remark: str


@dataclass(frozen=True)
class ExtractionSettings:
    """What features and thumbnails follow from, beside the videos and the backbone.

    Attributes:
        frames: M, frames a video, evenly in time.
        batch_size: frames that go through the backbone together; batches cross the borders of videos.
        thumbnail: longer side of a thumbnail, pixels; never above that of the decoded frame, see
            `working_side`.

    Raises:
        UserError: one of them is below 1.
    """

    frames: int
    batch_size: int
    thumbnail: int

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            check_positive(f"features.{name}", value)


@dataclass(frozen=True)
class ThreadExtractor:
    """Extracts one shard after the other, with threads of this process.

    Attributes:
        place: the folder that the videos' paths are relative to.
        backbone: the image network.
        settings: what else features follow from.
        workers: threads that decode.

    Raises:
        UserError: `workers` is below 1.
    """

    place: VideoPlace
    backbone: Backbone
    settings: ExtractionSettings
    workers: int

    def __post_init__(self) -> None:
        check_positive("running.workers", self.workers)

    def extract(
        self, shards: Iterable[tuple[int, Sequence[Video]]], progress: ShardProgress
    ) -> Generator[tuple[int, list[Extracted | str]]]:
        """See `ssvh_model.video.extraction.Extractor`."""
        with pools(self.workers, self.backbone) as (decoders, networks):
            one = ShardExtraction(self.place, self.backbone, self.settings, decoders, networks)
            for number, videos in shards:

                def tell(done: int, total: int, number: int = number) -> None:
                    progress(number, done)

                yield number, one.run(videos, tell)


@dataclass(frozen=True)
class ShardExtraction:
    """Extracts the videos of one shard. Batches never cross its border, so that its bytes depend on nothing
    outside it.
    """

    place: VideoPlace
    backbone: Backbone
    settings: ExtractionSettings
    decoders: ThreadPoolExecutor
    networks: ThreadPoolExecutor

    def run(self, videos: Sequence[Video], progress: Progress = no_progress) -> list[Extracted | str]:
        """Results in the order of `videos`: what was extracted, or the reason why nothing was."""
        batch_size = self.settings.batch_size
        decoded: list[Decoded | str] = []
        waiting: list[Tensor] = []  # decoded frames that don't fill a batch yet
        batches: deque[Future[Tensor]] = deque()
        features: list[Tensor] = []

        def submit(prepared: Tensor) -> None:
            batches.append(self.networks.submit(self.backbone.features, prepared))
            # Decoding must not run away from the network, or decoded frames fill the memory.
            while len(batches) > 2 * self.networks._max_workers:
                features.append(batches.popleft().result())

        for number, result in enumerate(self._decode_ahead(videos), start=1):
            if isinstance(result, Decoded):
                waiting.append(result.prepared)
                result = Decoded(
                    torch.empty(0), result.indices, result.thumbnails, result.total, result.remark
                )
                while sum(map(len, waiting)) >= batch_size:
                    together = torch.cat(waiting)
                    submit(together[:batch_size])
                    waiting = [together[batch_size:]]
            decoded.append(result)
            progress(number, len(videos))
        rest = torch.cat(waiting) if waiting else torch.empty(0)
        if len(rest):
            submit(rest)
        features += [batch.result() for batch in batches]
        return self._assemble(decoded, features)

    def _assemble(self, decoded: list[Decoded | str], features: list[Tensor]) -> list[Extracted | str]:
        rows = iter(torch.cat(features).split(self.settings.frames) if features else ())
        results: list[Extracted | str] = []
        for item in decoded:
            if isinstance(item, str):
                results.append(item)
                continue
            half = next(rows).to(torch.float16)
            if not torch.isfinite(half).all():
                raise UserError(
                    f"features.backbone: {self.backbone.name!r} gives values that float16 can't hold"
                )
            results.append(Extracted(half.numpy(), item.indices, item.thumbnails, item.total, item.remark))
        return results

    def _decode_ahead(self, videos: Sequence[Video]) -> Iterator[Decoded | str]:
        """Decoded videos in their order, a few ahead of the one asked for."""
        ahead: deque[Future[Decoded | str]] = deque()
        for video in videos:
            ahead.append(self.decoders.submit(self._decode, video))
            if len(ahead) > 2 * self.decoders._max_workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()

    def _decode(self, video: Video) -> Decoded | str:
        if not stays_inside(video.path):
            return "its path leads out of the video folder"
        frames, thumbnail = self.settings.frames, self.settings.thumbnail
        try:
            with self.place.opened(video) as path:
                sampled = decode_for(self.backbone, path, frames=frames, thumbnail=thumbnail)
        except UnreadableVideo as error:
            return error.reason
        thumbnails = [encode_thumbnail(shown, thumbnail) for shown in sampled.frames]
        prepared = prepared_for(self.backbone, sampled)
        return Decoded(prepared, sampled.indices, thumbnails, sampled.total, sampled.remark)


def encode_thumbnail(frame: np.ndarray, longer_side: int) -> bytes:
    """A frame [H, W, 3] uint8 as JPEG, scaled down to `longer_side` pixels on its longer side, never up."""
    from PIL import Image

    image = Image.fromarray(frame)
    image.thumbnail((longer_side, longer_side), Image.Resampling.BILINEAR, reducing_gap=None)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


@contextmanager
def pools(workers: int, backbone: Backbone) -> Iterator[tuple[ThreadPoolExecutor, ThreadPoolExecutor]]:
    """Threads that decode, and threads that run the network.

    On a CPU each of as many threads as torch has runs whole batches by itself. Against one batch shared by
    all threads this has no barriers to wait at, and the result does not depend on the number of threads. A
    GPU gets its batches one by one.
    """
    threads = torch.get_num_threads()
    on_cpu = backbone.device.type == "cpu"

    def work_alone() -> None:
        torch.set_num_threads(1)

    decoders = ThreadPoolExecutor(workers, "decode", initializer=work_alone)
    networks = ThreadPoolExecutor(threads if on_cpu else 1, "backbone", initializer=work_alone)
    try:
        yield decoders, networks
    finally:
        decoders.shutdown(cancel_futures=True)
        networks.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # what a thread sets is also what threads that start later begin with


def check_positive(key: str, value: int) -> None:
    """Raises UserError unless `value` is at least 1; `key` is what the user calls it."""
    if value < 1:
        raise UserError(f"{key}: {value}; allowed are whole numbers from 1")
