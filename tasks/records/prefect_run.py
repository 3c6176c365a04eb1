"""The Prefect run that goes on in this process, if there is one. Prefect is never imported to find that out:
it takes a second or two.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class PrefectIds:
    """Of the run that is going on; "" where there is none."""

    flow_run: str = ""
    task_run: str = ""


def present_ids() -> PrefectIds:
    """Ids of the task run that this is called in."""
    if "prefect" not in sys.modules:
        return PrefectIds()
    from prefect.context import TaskRunContext

    if (run := TaskRunContext.get()) is None:
        return PrefectIds()
    return PrefectIds(str(run.task_run.flow_run_id or ""), str(run.task_run.id))


def in_a_run() -> bool:
    """True within a flow or a task."""
    if "prefect" not in sys.modules:
        return False
    from prefect.context import FlowRunContext, TaskRunContext

    return TaskRunContext.get() is not None or FlowRunContext.get() is not None
