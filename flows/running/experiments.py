"""What the flows of experiments share: opening the record, running the trainings, closing the record."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from prefect.context import FlowRunContext
from prefect.states import Completed, Failed, State
from prefect.task_runners import ThreadPoolTaskRunner

from flows.running.ending import exit_status
from flows.running.environment import prepare_environment
from flows.running.trainings import run_trainings
from tasks.experiments.plan import Plan
from tasks.experiments.record import open_parent
from tasks.records.parents import close_parent
from tasks.records.stage_run import SECONDS_WHEN_STOPPED
from tasks.records.store import Store

if TYPE_CHECKING:
    from prefect import Flow


def run_experiment(plan: Plan, workers: int, finish: Callable[[str], None]) -> State[Any]:
    """Run a plan's trainings under one MLflow parent, then `finish(parent)`. Called within a flow.

    Raises:
        UserError: MLflow can't be reached.
    """
    context = FlowRunContext.get()
    assert context is not None and context.flow_run is not None, "the flow engine sets it"
    store = Store()
    folder = plan.folder
    parent = open_parent(store, folder, plan.kind, plan.parameters(), str(context.flow_run.id))
    status = "KILLED"
    try:
        failure = run_trainings(plan.trainings(), folder=folder, parent=parent, workers=workers)
        if failure is None:
            finish(parent)
        status = "FINISHED" if failure is None else "FAILED"
    except Exception:
        status = "FAILED"
        raise
    finally:
        close_parent(store, parent, status, wait=SECONDS_WHEN_STOPPED)
    if failure is not None:
        return Failed(name=failure.name, message=f"{failure.message}; what is finished is kept")
    return Completed(message=f"results are in {folder}")


def main(flow: Flow[..., Any], arguments: list[str]) -> int:
    """Run a flow with settings in JSON; 0 if all went well, 2 after bad input, 1 after anything else."""
    prepare_environment()
    settings = json.loads(arguments[0])
    runner: Any = ThreadPoolTaskRunner(max_workers=settings.get("workers", 1))
    state: Any = flow.with_options(task_runner=runner)(**settings, return_state=True)
    return exit_status(state)
