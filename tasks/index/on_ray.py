"""Codes of very many videos by a Ray cluster, from their stored features.

Features are read here, once and in their order, and go to the nodes a few hundred videos at a time; what
comes back is codes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from ssvh_model.model.hasher import VideoHasher
from ssvh_model.progress import Progress, no_progress
from ssvh_model.training.encoding import encode as encode_here
from ssvh_model.training.frame_source import FrameSource
from tasks.machine.device import pick_device
from tasks.on_ray.cluster import connected, size_of_tasks
from tasks.on_ray.jobs import Job, Jobs
from tasks.on_ray.versions import check_versions, versions_here
from tasks.params.sections import Running

LEAST_VIDEOS = 10_000  # with fewer, starting takes longer than encoding
BYTES_AT_ONCE = 16 << 20
PACKAGES = ("numpy", "torch")


@dataclass(frozen=True)
class Encoding:
    """What every task of an encoding needs.

    Attributes:
        hasher: on the processor.
        device: where it works, as `running.device`.
        threads: of a task.
        batch_size: videos that go through it at a time.
        versions: what must be the same everywhere, see `versions_here`.
    """

    hasher: VideoHasher
    device: str
    threads: int
    batch_size: int
    versions: Mapping[str, str]


def encode(encoding: Encoding, features: np.ndarray) -> np.ndarray:
    """On a node: soft codes [n, K] float32 of features [n, M, D] float16.

    Raises:
        UserError: this node differs from the machine that drives in what changes numbers.
    """
    check_versions(encoding.versions)
    torch.set_num_threads(encoding.threads)
    device = pick_device(encoding.device)
    # What Ray hands over can't be written to, and torch warns of that.
    source = FrameSource.from_tensor([""] * len(features), torch.from_numpy(features.copy()))
    soft = encode_here(
        encoding.hasher.to(device),
        source,
        batch_size=encoding.batch_size,
        device=device,
        progress=no_progress,
    )
    return soft.numpy()


def encode_on_ray(
    hasher: VideoHasher,
    videos: FrameSource,
    running: Running,
    *,
    batch_size: int,
    say: Callable[[str], None],
    progress: Progress,
) -> np.ndarray:
    """Soft codes [n, K] float32, the same that this machine would make.

    Args:
        hasher: on the processor.
        videos: whose features are read here.
        running: what concerns Ray, `device` and `workers`.
        batch_size: videos that go through the network at a time.
        say: takes a line.
        progress: counts videos.

    Raises:
        UserError: Ray is not installed, or a node has other versions.
        ServiceAway: there is no such cluster, or it lost a task too often.
    """
    import ray

    codes = np.empty((len(videos), hasher.config.bits), dtype=np.float32)
    with connected(running.ray.address):
        size = size_of_tasks(running.device, running.workers)
        encoding = ray.put(Encoding(hasher, running.device, size.cpus, batch_size, versions_here(PACKAGES)))
        done = 0
        for rows, soft in Jobs(size, "batches of videos", say).run(
            encode, _parts(videos, encoding, batch_size)
        ):
            codes[rows.start : rows.stop] = soft
            done += len(rows)
            progress(done, len(videos))
    return codes


def _parts(videos: FrameSource, encoding: object, batch_size: int) -> Iterator[Job[range]]:
    """Whole batches each, so that the same videos go through the network together as would here."""
    bytes_of_batch = batch_size * videos.fetch(np.arange(1)).nbytes
    at_once = batch_size * max(1, BYTES_AT_ONCE // bytes_of_batch)
    for start in range(0, len(videos), at_once):
        rows = range(start, min(start + at_once, len(videos)))
        features = videos.fetch(np.arange(rows.start, rows.stop)).numpy()
        yield Job(rows, f"videos {rows.start} to {rows.stop - 1}", (encoding, features))
