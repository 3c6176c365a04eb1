"""From videos to a feature file: decoding, backbone and thumbnails, overlapped, and resumable."""

from __future__ import annotations

import io
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
from ssvh_model.features import FeatureMeta
from ssvh_model.manifest import Video, stays_inside
from ssvh_model.progress import Progress, part_of
from ssvh_model.video.backbones import Backbone
from ssvh_model.video.decoding import SampledFrames, UnreadableVideo, sample_frames
from ssvh_model.video.earlier import EarlierFeatures
from ssvh_model.video.shards import (
    Extracted,
    is_finished,
    join_shards,
    read_outcomes,
    shard_key,
    shards_of,
    write_shard,
)

SHARDS = "shards"
JPEG_QUALITY = 85


def extract_features(
    videos: Sequence[Video],
    root: Path,
    backbone: Backbone,
    *,
    frames: int,
    batch_size: int,
    thumbnail: int,
    folder: Path,
    workers: int,
    progress: Progress,
    earlier: Sequence[Path] = (),
) -> list[Video]:
    """Write `features.h5` and `thumbnails.h5` in `folder`, for every usable video that can be read.

    Interrupted at any time, even by a kill, it goes on in the same `folder` where it stopped, and the result is the same byte
    for byte. Finished parts stay in `folder/shards`, also after the end: they belong to whoever owns the folder, who may be
    killed before the result is handed on.

    The same videos and settings give the same bytes on one machine, whatever `workers` and the number of torch's threads, where nothing
    is taken from `earlier`.

    Args:
        videos: rows of a manifest; those left out are passed through. Their order is the order of the rows.
        root: the folder that the videos' paths are relative to.
        backbone: the image network.
        frames: M, frames a video, evenly in time.
        batch_size: frames that go through the backbone together; batches cross the borders of videos.
        thumbnail: longer side of a thumbnail, pixels; never above that of the decoded frame, see `working_side`.
        folder: where the files go.
        workers: threads that decode.
        progress: counts videos.
        earlier: folders of earlier extractions; videos that they have features of are not decoded, see `EarlierFeatures`.

    Returns:
        All of `videos`: usable ones with their number of frames and remarks, or left out with the reason.

    Raises:
        UserError: an argument is impossible, not one video can be read, or the backbone's values are beyond float16.
    """
    numbers = {"frames": frames, "batch_size": batch_size, "thumbnail": thumbnail, "workers": workers}
    for name, value in numbers.items():
        if value < 1:
            section = "running" if name == "workers" else "features"
            raise UserError(f"{section}.{name}: {value}; allowed are whole numbers from 1")
    shards = shards_of(videos)
    total = sum(len(shard) for shard in shards)
    if not total:
        raise UserError(
            f"{root}: not one usable video in the manifest, so there is nothing to extract features from"
        )
    meta = FeatureMeta(backbone=backbone.name, weights_sha256=backbone.weights_sha256, size=backbone.size)
    settings: dict[str, object] = {
        **vars(meta),
        "frames": frames,
        "batch_size": batch_size,
        "thumbnail": thumbnail,
    }
    _remove_abandoned(folder)
    known = EarlierFeatures(earlier, meta=meta, frames=frames)

    done = 0
    paths: list[Path] = []
    outcomes: dict[str, Video] = {}
    with _pools(workers, backbone) as (decoders, networks):
        for number, shard in enumerate(shards):
            path = folder / SHARDS / f"{number:06d}.h5"
            key = shard_key(shard, settings)
            if not is_finished(path, key):
                extraction = _ShardExtraction(
                    root, backbone, frames, batch_size, thumbnail, decoders, networks, known
                )
                results = extraction.run(shard, part_of(progress, before=done, total=total))
                write_shard(path, key, results)
            paths.append(path)
            outcomes.update((video.id, video) for video in read_outcomes(path, shard))
            done += len(shard)
            progress(done, total)

    result = [outcomes.get(video.id, video) for video in videos]
    readable = [video for video in result if video.usable]
    if not readable:
        first = next(iter(outcomes.values()))
        raise UserError(
            f"{root}: not one of {total} videos can be read; the first is {first.path}: {first.reason}"
        )
    join_shards(paths, readable, meta=meta, shape=(frames, backbone.feature_size), folder=folder)
    return result


def working_side(size: int) -> int:
    """Longer side to which frames are scaled while they are decoded, for a backbone of `size` pixels.

    It leaves the backbone more than it looks at, and does not depend on the thumbnails, so that they never change features.
    """
    return max(512, 2 * size)


def decode_for(backbone: Backbone, path: Path, *, frames: int) -> SampledFrames:
    """Frames of a video as `extract_features` shows them to the backbone; whoever encodes single videos must use this.

    Raises:
        UnreadableVideo: with the reason.
    """
    return sample_frames(path, frames, longer_side=working_side(backbone.size))


@dataclass(frozen=True)
class _Decoded:
    planes: Tensor  # [M, 3, size, size] float32
    indices: np.ndarray
    thumbnails: list[bytes]
    total: int
    remark: str


@dataclass(frozen=True)
class _ShardExtraction:
    """Extracts the videos of one shard. Batches never cross its border, so that its bytes depend on nothing outside it."""

    root: Path
    backbone: Backbone
    frames: int
    batch_size: int
    thumbnail: int
    decoders: ThreadPoolExecutor
    networks: ThreadPoolExecutor
    known: EarlierFeatures

    def run(self, videos: Sequence[Video], progress: Progress) -> list[Extracted | str]:
        """Results in the order of `videos`: what was extracted, now or earlier, or the reason why nothing was."""
        found = [self.known.find(video.sha256) for video in videos]
        new = [video for video, earlier in zip(videos, found, strict=True) if earlier is None]
        made = iter(self._extract(new, part_of(progress, before=len(videos) - len(new), total=len(videos))))
        return [next(made) if earlier is None else earlier for earlier in found]

    def _extract(self, videos: Sequence[Video], progress: Progress) -> list[Extracted | str]:
        decoded: list[_Decoded | str] = []
        waiting: list[Tensor] = []  # decoded frames that don't fill a batch yet
        batches: deque[Future[Tensor]] = deque()
        features: list[Tensor] = []

        def submit(planes: Tensor) -> None:
            batches.append(self.networks.submit(self.backbone.features, planes))
            # Decoding must not run away from the network, or decoded frames fill the memory.
            while len(batches) > 2 * self.networks._max_workers:
                features.append(batches.popleft().result())

        for number, result in enumerate(self._decode_ahead(videos), start=1):
            if isinstance(result, _Decoded):
                waiting.append(result.planes)
                result = _Decoded(
                    torch.empty(0), result.indices, result.thumbnails, result.total, result.remark
                )
                while sum(map(len, waiting)) >= self.batch_size:
                    together = torch.cat(waiting)
                    submit(together[: self.batch_size])
                    waiting = [together[self.batch_size :]]
            decoded.append(result)
            progress(number, len(videos))
        rest = torch.cat(waiting) if waiting else torch.empty(0)
        if len(rest):
            submit(rest)
        features += [batch.result() for batch in batches]
        return self._assemble(decoded, features)

    def _assemble(self, decoded: list[_Decoded | str], features: list[Tensor]) -> list[Extracted | str]:
        rows = iter(torch.cat(features).split(self.frames) if features else ())
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

    def _decode_ahead(self, videos: Sequence[Video]) -> Iterator[_Decoded | str]:
        """Decoded videos in their order, a few ahead of the one asked for."""
        ahead: deque[Future[_Decoded | str]] = deque()
        for video in videos:
            ahead.append(self.decoders.submit(self._decode, video))
            if len(ahead) > 2 * self.decoders._max_workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()

    def _decode(self, video: Video) -> _Decoded | str:
        if not stays_inside(video.path):
            return "its path leads out of the video folder"
        try:
            sampled = decode_for(self.backbone, self.root / video.path, frames=self.frames)
        except UnreadableVideo as error:
            return error.reason
        thumbnails = [encode_thumbnail(frame, self.thumbnail) for frame in sampled.frames]
        return _Decoded(
            self.backbone.prepare(sampled.frames), sampled.indices, thumbnails, sampled.total, sampled.remark
        )


def encode_thumbnail(frame: np.ndarray, longer_side: int) -> bytes:
    """A frame [H, W, 3] uint8 as JPEG, scaled down to `longer_side` pixels on its longer side, never up."""
    from PIL import Image

    image = Image.fromarray(frame)
    image.thumbnail((longer_side, longer_side), Image.Resampling.BILINEAR, reducing_gap=None)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


@contextmanager
def _pools(workers: int, backbone: Backbone) -> Iterator[tuple[ThreadPoolExecutor, ThreadPoolExecutor]]:
    """Threads that decode, and threads that run the network.

    On a CPU each of as many threads as torch has runs whole batches by itself. Against one batch shared by all threads this has no
    barriers to wait at, and the result does not depend on the number of threads. A GPU gets its batches one by one.
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


def _remove_abandoned(folder: Path) -> None:
    """Remove the temporary files of a run that was killed while it wrote."""
    for abandoned in [*folder.glob(".*.tmp.h5"), *folder.glob(f"{SHARDS}/.*.tmp.h5")]:
        abandoned.unlink(missing_ok=True)
