"""Processor, memory, disk and GPU use of a stage, in its MLflow run."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from tasks.tracking import StageRun

SECONDS_BETWEEN_SAMPLES = 10


@contextlib.contextmanager
def watch_system(run: StageRun) -> Iterator[None]:
    """Log MLflow's system metrics while the block runs. They are worth no failure: what goes wrong here is passed over."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)
    monitor = SystemMetricsMonitor(
        run.id, sampling_interval=SECONDS_BETWEEN_SAMPLES, tracking_uri=run.store.uri
    )
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()
        # The monitor drops the samples since it last logged: all of them, where a stage ends within one interval.
        with contextlib.suppress(Exception):
            monitor.publish_metrics(monitor.aggregate_metrics())
            monitor.mlflow_logger.flush()
