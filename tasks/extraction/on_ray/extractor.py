"""Extraction by a Ray cluster: a task a shard, wherever there is room, and again elsewhere where a node was
lost.

Videos are decoded where the backbone runs: what travels back is features and thumbnails, some 140 kB a video,
not frames, thirty times as much. At most twice as many shards are under way as have room, so that neither
tasks nor their results pile up.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssvh_model.errors import UserError
from ssvh_model.files import is_address
from ssvh_model.manifest import Video
from ssvh_model.remote_folder import StorageAway
from tasks.extraction.chosen_backbone import BackboneChoice
from tasks.extraction.on_ray import node
from tasks.extraction.on_ray.cluster import Room, connected, room_for, size_of_tasks
from tasks.extraction.on_ray.node import NodeNetwork, NodeWork
from tasks.machine.errors import ServiceAway

if TYPE_CHECKING:
    from ssvh_model.video.shard_extraction import ExtractionSettings
    from ssvh_model.video.shards import Extracted, ShardProgress
    from tasks.params.sections import Params

RETRIES = 5  # of a task whose process or node was lost
SECONDS_BETWEEN_LOOKS = 5.0


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
        self._say = say
        self._size = size_of_tasks(work.device, workers)
        self._room: Room | None = None
        self._looked = 0.0
        self._look_at_room()
        found: NodeNetwork = _value(self._task(node.look).remote(work, self._size.cpus), "the backbone")
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

        work, task = ray.put(self._work), self._task(node.extract)
        under_way: dict[Any, tuple[int, str]] = {}
        left = iter(shards)
        more = True
        try:
            while more or under_way:
                while more and len(under_way) < self._most_under_way():
                    if (one := next(left, None)) is None:
                        more = False
                        break
                    number, videos = one
                    under_way[task.remote(work, self._size.cpus, list(videos))] = (
                        number,
                        f"shard {number}, {videos[0].path} to {videos[-1].path}",
                    )
                done, _ = ray.wait([*under_way], timeout=SECONDS_BETWEEN_LOOKS) if under_way else ([], [])
                for reference in done:
                    number, name = under_way.pop(reference)
                    yield number, _value(reference, name)
                self._look_at_room()
        finally:
            for reference in under_way:
                ray.cancel(reference, force=True)

    def _task(self, function: Callable[..., Any]) -> Any:
        import ray

        # max_calls=0: a process that has a GPU keeps it, and with it the backbone that it has loaded.
        options = {
            "num_cpus": self._size.cpus,
            "num_gpus": self._size.gpus,
            "max_retries": RETRIES,
            "max_calls": 0,
            "retry_exceptions": [StorageAway],
        }
        return ray.remote(**options)(function)

    def _most_under_way(self) -> int:
        """Twice what there is room for: no node waits for this process to think of more."""
        return max(1, 2 * self._room.tasks) if self._room else 1

    def _look_at_room(self) -> None:
        if (now := time.monotonic()) - self._looked < SECONDS_BETWEEN_LOOKS:
            return
        self._looked, room = now, room_for(self._size)
        if room != self._room:
            each = f"{self._size.cpus} CPU" + ("s" if self._size.cpus > 1 else "")
            each += " and a GPU" if self._size.gpus else ""
            self._say(f"Ray: {room.nodes} nodes, room for {room.tasks} shards at a time, {each} each")
        self._room = room


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


def _value(reference: Any, name: str) -> Any:
    """What a task gave; its `UserError` as it was on the node, without where it came from."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, StorageAway):
            raise ServiceAway(str(error.cause)) from None
        raise (error.cause if isinstance(error.cause, UserError) else error) from None
    except ray.exceptions.RayError as error:
        raise ServiceAway(
            f"Ray: {name} came to nothing, tried {RETRIES + 1} times where its process was lost: "
            f"{type(error).__name__}: {str(error).splitlines()[0]}"
        ) from error
