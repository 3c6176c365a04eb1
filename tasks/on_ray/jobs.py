"""Many tasks of one kind on a Ray cluster: wherever there is room, and again elsewhere where a node was lost.

At most twice as many are under way as have room, so that neither tasks nor their results pile up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ssvh_model.errors import UserError
from ssvh_model.remote_folder import StorageAway
from tasks.machine.errors import ServiceAway
from tasks.on_ray.cluster import Room, TaskSize, room_for

RETRIES = 5  # of a task whose process or node was lost
SECONDS_BETWEEN_LOOKS = 5.0

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Job(Generic[Key]):
    """A call of the function.

    Attributes:
        key: by which its result is known.
        name: for a person.
        arguments: of the call; what `put` gave stands for what was put.
    """

    key: Key
    name: str
    arguments: Sequence[Any]


class Jobs:
    """What runs on the cluster that this process is connected to.

    Args:
        size: of each task.
        things: what a task does one of, such as "shards".
        say: takes a line.
    """

    def __init__(self, size: TaskSize, things: str, say: Callable[[str], None]) -> None:
        self._size = size
        self._things = things
        self._say = say
        self._room: Room | None = None
        self._looked = 0.0
        self._look_at_room()

    def call(self, function: Callable[..., Any], name: str, *arguments: Any) -> Any:
        """Run one task; what it gives.

        Raises:
            UserError: as the function.
            ServiceAway: its process was lost too often, or a store does not answer.
        """
        return _value(self._task(function).remote(*arguments), name)

    def run(self, function: Callable[..., Any], jobs: Iterable[Job[Key]]) -> Generator[tuple[Key, Any]]:
        """The key and the result of each job, as they come; what is under way is cancelled where nobody asks
        any more.

        Raises:
            UserError, ServiceAway: as `call`.
        """
        import ray

        task = self._task(function)
        under_way: dict[Any, Job[Key]] = {}
        left = iter(jobs)
        more = True
        try:
            while more or under_way:
                while more and len(under_way) < self._most_under_way():
                    if (job := next(left, None)) is None:
                        more = False
                        break
                    under_way[task.remote(*job.arguments)] = job
                done, _ = ray.wait([*under_way], timeout=SECONDS_BETWEEN_LOOKS) if under_way else ([], [])
                for reference in done:
                    job = under_way.pop(reference)
                    yield job.key, _value(reference, job.name)
                self._look_at_room()
        finally:
            for reference in under_way:
                ray.cancel(reference, force=True)

    def _task(self, function: Callable[..., Any]) -> Any:
        import ray

        # max_calls=0: a process that has a GPU keeps it, and with it the network that it has loaded.
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
            self._say(f"Ray: {room.nodes} nodes, room for {room.tasks} {self._things} at a time, {each} each")
        self._room = room


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
