"""Processor, memory, disk and GPU use of a stage, in its MLflow run."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

from tasks.records.store import StageRun

SECONDS_BETWEEN_SAMPLES = 10.0


@contextlib.contextmanager
def watch_system(run: StageRun) -> Iterator[None]:
    """Log what MLflow's system monitors measure while the block runs. They are worth no failure: what goes wrong here is passed over.

    MLflow's own thread would end with the first request that fails, and hold up the end of the stage until then.
    """
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)
    monitor = SystemMetricsMonitor(run.id, tracking_uri=run.store.uri)
    ended = threading.Event()

    def watch() -> None:
        step = 0
        while True:
            with contextlib.suppress(Exception):
                monitor.collect_metrics()
                measured = monitor.aggregate_metrics()
                run.log_metrics({f"system/{name}": value for name, value in measured.items()}, step=step)
                for one in monitor.monitors:
                    one.clear_metrics()
            step += 1
            if ended.wait(SECONDS_BETWEEN_SAMPLES):
                return

    thread = threading.Thread(target=watch, name="system-metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
