"""Extraction by a Ray cluster: a task a shard, wherever there is room, and again elsewhere where a node was
lost.

Videos are decoded where the backbone runs: what travels back is features and thumbnails, some 140 kB a video,
not frames, thirty times as much.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ssvh_model.files import is_address
from ssvh_model.manifest import Video
from tasks.extraction.chosen_backbone import BackboneChoice
from tasks.extraction.on_ray import node
from tasks.extraction.on_ray.node import NodeNetwork, NodeWork
from tasks.on_ray.cluster import connected, size_of_tasks
from tasks.on_ray.jobs import Job, Jobs

if TYPE_CHECKING:
    from ssvh_model.video.shard_extraction import ExtractionSettings
    from ssvh_model.video.shards import Extracted, ShardProgress
    from tasks.params.sections import Params


class RayExtractor:
    """An `Extractor` whose work is done by a cluster that this process is connected to.

    Args:
        work: what every task needs; its engine and its precision may be "auto".
        workers: CPUs of a task, see `size_of_tasks`.
        say: takes a line.

    Raises:
        UserError: the backbone can't be loaded on a node.

    Attributes:
        network: what is known of the backbone, which the nodes have loaded.
    """

    def __init__(self, work: NodeWork, *, workers: int, say: Callable[[str], None]) -> None:
        size = size_of_tasks(work.device, workers)
        self._threads, self._jobs = size.cpus, Jobs(size, "shards", say)
        found: NodeNetwork = self._jobs.call(node.look, "the backbone", work, self._threads)
        self.network = found
        # From here on, no node decides for itself what is best.
        meta = found.meta
        self._work = replace(
            work,
            backbone=replace(work.backbone, engine=meta.engine, precision=meta.precision),
            versions=node.versions_of(work.backbone.name, meta.engine),
        )

    def extract(
        self, shards: Iterable[tuple[int, Sequence[Video]]], progress: ShardProgress
    ) -> Generator[tuple[int, list[Extracted | str]]]:
        """See `ssvh_model.video.extraction.Extractor`; progress is by whole shards, which the caller
        counts.
        """
        import ray

        work = ray.put(self._work)
        jobs = (
            Job(
                number,
                f"shard {number}, {videos[0].path} to {videos[-1].path}",
                (work, self._threads, list(videos)),
            )
            for number, videos in shards
        )
        yield from self._jobs.run(node.extract, jobs)


@contextlib.contextmanager
def ray_extractor(
    params: Params, root: str, settings: ExtractionSettings, say: Callable[[str], None]
) -> Iterator[RayExtractor]:
    """Connect to the cluster of `running.ray.address` and have it load the backbone.

    Args:
        params: section features, and of `running` what concerns Ray, `device` and `workers`.
        root: the folder of the videos, or its address; `running.ray.videos` says where else the nodes find
            them.
        settings: what else features follow from.
        say: takes a line.

    Raises:
        UserError: Ray is not installed, there is no such cluster, or a node can't load the backbone.
    """
    running = params.running
    videos = running.ray.videos or (root if is_address(root) else str(Path(root).resolve()))
    backbone = BackboneChoice.of(params)
    device = "cpu" if backbone.for_processors else running.device
    work = NodeWork(videos, backbone, device, settings, versions={})
    with connected(running.ray.address):
        yield RayExtractor(work, workers=running.workers, say=say)
