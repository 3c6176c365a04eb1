"""The pipeline as a Prefect flow: the stages of dvc.yaml in their order, each reproduced through DVC.

DVC decides what is out of date. A stage that is runs as a task of this flow (in a process of its own, see
`tasks/records/prefect_task.py`); one that is not shows as a task in the state Cached. `python -m flows.pipeline` starts it by hand.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext
from prefect.states import Completed, Failed, State

from flows.running.ending import BAD_INPUT, bad_input, exit_status
from flows.running.environment import AT_ONCE, prepare_environment, refuse_nested
from flows.running.reproduce import out_of_date, reproduce
from ssvh_model.errors import UserError
from tasks.machine.processes import leave_garbage
from tasks.params.load import load_params
from tasks.pipeline.definition import read_definitions
from tasks.pipeline.stage import STARTED_VARIABLE
from tasks.records.parents import close_parent, create_parent, stage_tags
from tasks.records.prefect_page import show_mlflow_run
from tasks.records.prefect_task import FLOW_RUN_VARIABLE
from tasks.records.store import PARENT_VARIABLE, SECONDS_WHEN_STOPPED, Store


@flow(name="pipeline", persist_result=False)
def pipeline(one_by_one: bool = True) -> State[Any]:
    """Bring every stage up to date.

    Args:
        one_by_one: show the stages in their order, cached ones too; otherwise leave all to DVC, as `dvc repro` does.

    Returns:
        Completed, or Failed with the reason in one line.
    """
    logger = get_run_logger()
    context = FlowRunContext.get()
    assert context is not None and context.flow_run is not None, "the flow engine sets it"
    prepare_environment()
    try:
        refuse_nested()
        params = load_params()
        stages = [definition.name for definition in read_definitions()]
        stale = out_of_date()
        store = Store()
        tags = {"ssvh.prefect_flow_run": str(context.flow_run.id)}
        parent = create_parent(store, "prefect flow" if one_by_one else "ssvh run", tags)
    except UserError as error:
        return bad_input(error)
    show_mlflow_run(store.experiment, parent, "This run's figures and pictures in MLflow", logger.info)

    status = "KILLED"
    try:
        with tempfile.TemporaryDirectory() as folder:
            extra = {
                PARENT_VARIABLE: parent,
                FLOW_RUN_VARIABLE: str(context.flow_run.id),
                STARTED_VARIABLE: folder,
            }
            failure = _reproduce(stages, stale, one_by_one, Path(folder), extra)
            registered = (Path(folder) / "register").exists()
        status = "FINISHED" if failure is None else "FAILED"
    finally:
        # Whether MLflow takes the record says nothing about the stages.
        wait = params.running.wait_for_services if status == "FINISHED" else SECONDS_WHEN_STOPPED
        close_parent(store, parent, status, wait=wait, tags=stage_tags(parent, stages))
    logger.info("MLflow run %s", parent)
    if failure is None and registered and params.promotion.after_training:
        return Completed(message=f"all stages are up to date; {_promotion()}")
    return Completed(message="all stages are up to date") if failure is None else failure


def _reproduce(
    stages: list[str], stale: set[str], one_by_one: bool, started: Path, extra: dict[str, str]
) -> State[Any] | None:
    """Run what is out of date. Returns the state to end in if that failed."""
    if one_by_one:
        # What comes before the first stage that is out of date is shown before it. The others DVC takes together, because it needs a second
        # or two to start.
        first = next((number for number, stage in enumerate(stages) if stage in stale), len(stages))
        _show_cached(stages[:first])
        stages = stages[first:]
    if stages:
        names = stages if one_by_one else ()
        status = reproduce(*names, single=one_by_one, extra=extra)
        if status != 0:
            return _failure(started, f"dvc repro ended with status {status}")
    _show_cached([stage for stage in stages if not (started / stage).exists()])
    return None


def _show_cached(stages: list[str]) -> None:
    for stage in stages:
        cached.with_options(task_run_name=stage, name=stage)(stage)


def _promotion() -> str:
    """Run the promotion as a flow of its own within this one; what came of it. A training is not the worse for it."""
    from flows.promote import promote

    state = promote(return_state=True)
    if not state.is_completed():
        get_run_logger().error("promotion: %s", state.message)
    return f"promotion: {state.message}"


@task(cache_policy=NO_CACHE, persist_result=False)
def cached(stage: str) -> State[Any]:
    """Show that a stage's results were there already."""
    return Completed(name="Cached", message=f"the results of {stage} are up to date: nothing to run")


def _failure(started: Path, otherwise: str) -> State[Any]:
    """A failed state with what the stage itself said about its end."""
    for file in started.glob("*.error"):
        said = json.loads(file.read_text())
        return Failed(name=BAD_INPUT if said["bad_input"] else None, message=said["reason"])
    return Failed(message=otherwise)


def main(arguments: list[str]) -> int:
    """Run the flow; 0 if all went well, 2 after bad input, 1 after anything else."""
    if arguments not in ([], [AT_ONCE]):
        print(f"usage: python -m flows.pipeline [{AT_ONCE}]", file=sys.stderr)
        return 2
    state = pipeline(one_by_one=AT_ONCE not in arguments, return_state=True)
    leave_garbage()
    return exit_status(state)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
