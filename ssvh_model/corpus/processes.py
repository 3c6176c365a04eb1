"""Work spread over processes that may die."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Generic, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


class WorkerDied(RuntimeError, Generic[Job]):
    """A worker process ended in the middle of its work.

    Attributes:
        jobs: what the workers were at; the one that did it is among them.
    """

    def __init__(self, jobs: list[Job]) -> None:
        super().__init__(f"a worker process died at one of {jobs!r}")
        self.jobs = jobs


def in_processes(function: Callable[[Job], Result], jobs: Iterable[Job], *, workers: int) -> Iterator[Result]:
    """Yield `function(job)` for each job, in the order in which they get done.

    Even a single worker is a process of its own. `jobs` is read as workers become free, so it may be long.

    Args:
        function: importable by name, for it is sent to new processes.
        workers: processes, at least 1.

    Raises:
        WorkerDied: a process ended by itself.
    """
    # 'spawn', because a fork would copy the locks of whatever threads the caller runs.
    context = multiprocessing.get_context("spawn")
    waiting = iter(jobs)
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent) as pool:
        # One job a worker and no queue, so that the job at which a worker died is one of a few.
        in_flight: dict[Future[Result], Job] = {}
        try:
            while True:
                while len(in_flight) < workers and (job := next(waiting, None)) is not None:
                    in_flight[pool.submit(function, job)] = job
                if not in_flight:
                    return
                for future in wait(in_flight, return_when=FIRST_COMPLETED).done:
                    result = future.result()
                    del in_flight[future]
                    yield result
        except BrokenProcessPool as error:
            raise WorkerDied(list(in_flight.values())) from error


def _end_with_parent() -> None:
    """Let this worker end when its parent is killed; it would wait for work forever otherwise."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            multiprocessing.connection.wait([parent.sentinel])
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
