"""What looks at the folder of videos find, over time: one MLflow run for each hasher, a step for each
look.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from tasks import paths
from tasks.machine.errors import ServiceAway
from tasks.records.tags import WATCHED_TAG

COUNTED = "videos.new"


def log_look(figures: Mapping[str, float], thresholds: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Log what a look has found, so that MLflow's page shows how it changes while a hasher is the newest.

    Without MLflow, a look is not logged, which is said; the look counts all the same.

    Args:
        figures: by name; `videos.new` among them.
        thresholds: parameters of the run.
        say: takes a line.
    """
    from tasks.records.stage_run import StageRun
    from tasks.records.store import Store

    version = _newest_version()
    try:
        store = Store()
        query = f"tags.`{WATCHED_TAG}` = '{version}'"
        known = [
            run.info.run_id for run in store.client.search_runs([store.experiment], query, max_results=1)
        ]
        run = store.find_or_open(
            known[0] if known else None,
            f"watch, version {version}",
            parent=None,
            tags={WATCHED_TAG: version},
            parameters=thresholds,
        )
        look = StageRun(store, run, run)
        look.log_metrics(figures, step=len(store.client.get_metric_history(run, COUNTED)))
        look.close("FINISHED")
    except ServiceAway as error:
        say(f"this look is not logged: {error}")


def _newest_version() -> str:
    try:
        return str(json.loads(paths.REGISTERED_VERSION.read_text())["version"])
    except (OSError, ValueError, KeyError):
        return "none"
