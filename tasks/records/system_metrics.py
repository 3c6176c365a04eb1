"""Processor, memory, disk and GPU use of a stage, in its MLflow run."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from tasks.records.stage_run import StageRun

SECONDS_BETWEEN_SAMPLES = 10.0


@contextlib.contextmanager
def watch_system(run: StageRun) -> Iterator[None]:
    """Log what MLflow's system monitors measure while the block runs. They are worth no failure: what goes
    wrong here is passed over.

    MLflow's own thread would end with the first request that fails, and hold up the end of the stage until
    then.
    """
    ended = threading.Event()

    def measure(step: int) -> None:
        with contextlib.suppress(Exception):
            measured = run.store.measure_system(run.id)
            run.log_metrics({f"system/{name}": value for name, value in measured.items()}, step=step)

    def watch() -> None:
        step = 1
        while not ended.wait(SECONDS_BETWEEN_SAMPLES):
            measure(step)
            step += 1

    measure(0)
    thread = threading.Thread(target=watch, name="system-metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
