"""Tuning as a Prefect flow: one worker of a study, which runs trials until the study has those that were
asked for.

Starting it several times with the same settings gives the study several workers: `ssvh tune --workers` does
that, on this machine or through a work pool. Whoever sees the last trial end writes the report.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

from optuna import Trial, TrialPruned
from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext, TaskRunContext
from prefect.flow_engine import run_flow
from prefect.states import Completed, Failed, State

from flows.running.ending import bad_input, exit_status
from flows.running.environment import prepare_environment
from ssvh_model.errors import UserError
from tasks import paths
from tasks.machine.processes import terminate_as_interrupt
from tasks.params.changes import parse_changes, with_changes
from tasks.params.load import load_params
from tasks.records.prefect_run import PrefectIds
from tasks.records.store import Store
from tasks.tuning.apply import apply_best
from tasks.tuning.plan import TuningPlan, plan_tuning
from tasks.tuning.record import open_study_run
from tasks.tuning.report import report_study
from tasks.tuning.storage import turn
from tasks.tuning.study import MLFLOW_RUN, REPORTED, OpenStudy, open_study, work
from tasks.tuning.trial import first_number, reason, run_trial


def read_plan(features: str, study: str, changes: list[str]) -> TuningPlan:
    """What there is to tune, by params.yaml with some changes.

    Raises:
        UserError: parameters or features are at fault.
    """
    params = with_changes(load_params(), parse_changes(changes), where="--set")
    return plan_tuning(params, Path(features), study)


@flow(name="tune", persist_result=False)
def tune(
    features: str = str(paths.FEATURE_FILE),
    study: str = "",
    trials: int | None = None,
    changes: list[str] | None = None,
    apply: bool = False,
) -> State[Any]:
    """Work at a study until it has the trials that were asked for; make it if there is none.

    Args:
        features: feature file.
        study: its name; "" for one that stands for the parameters, the search space and the features.
        trials: that shall come to their end; if not given, as many as before, or for a new study what
            params.yaml says.
        changes: `key=value` for params.yaml, for all trials.
        apply: write the best trial into params.yaml.

    Returns:
        Completed, or Failed with the reason in one line.
    """
    context = FlowRunContext.get()
    assert context is not None and context.flow_run is not None, "the flow engine sets it"
    flow_run = str(context.flow_run.id)
    logger = get_run_logger()
    try:
        plan = read_plan(features, study, changes or [])
        with turn("mlflow"):  # which makes its tables, and can't do so twice at once
            store = Store()
        opened = open_study(
            plan,
            trials=trials,
            parent=lambda known: open_study_run(store, known, plan.study, plan.parameters(), flow_run),
        )
        parent = str(opened.study.user_attrs[MLFLOW_RUN])
        logger.info("study %s: %d of %d trials ended so far", plan.study, len(opened.ended()), opened.wanted)
        status = "KILLED"
        try:
            work(opened, lambda trial: _as_task(plan, trial, parent), logger.info)
            _report(opened, parent)
            status = "FINISHED"
        except Exception:
            status = "FAILED"
            raise
        finally:
            if status == "FINISHED" or opened.is_left():
                store.set_status(parent, status)
        if apply:
            for line in apply_best(opened, parse_changes(changes or [])) or ["nothing to change"]:
                logger.info("params.yaml: %s", line)
    except UserError as error:
        return bad_input(error)
    best = opened.best()
    return Completed(
        message=f"study {plan.study}: {'no trial is complete' if best is None else f'best {plan.value_name} {best.value:.4f}'}"
    )


def _as_task(plan: TuningPlan, trial: Trial, parent: str) -> float:
    """Run a trial as a task run, whose state says how the trial ended."""
    values: list[float] = []
    errors: list[Exception] = []

    def body() -> State[Any]:
        context = TaskRunContext.get()
        assert context is not None, "the task engine sets it"
        ids = PrefectIds(str(context.task_run.flow_run_id or ""), str(context.task_run.id))
        try:
            values.append(run_trial(plan, trial, parent, ids, get_run_logger().info))
        except TrialPruned as pruned:
            errors.append(pruned)
            return Completed(name="Pruned", message=str(pruned))
        except Exception as error:
            errors.append(error)
            return Failed(message=reason(error))
        return Completed(message=f"{plan.value_name} {values[0]:.4f}")

    name = f"trial {first_number(trial)}"
    stage: Any = task(name=name, task_run_name=name, cache_policy=NO_CACHE, persist_result=False)(body)
    stage(return_state=True)
    if errors:
        raise errors[0]
    return values[0]


def _report(opened: OpenStudy, parent: str) -> None:
    """Write the report, once for as many trials."""
    with turn(f"{opened.plan.study} report"):
        ended = len(opened.ended())
        if opened.study.user_attrs.get(REPORTED) != ended and opened.best() is not None:
            report_study(opened, parent)
            opened.study.set_user_attr(REPORTED, ended)


def main(arguments: list[str]) -> int:
    """Run the flow with settings in JSON, as a flow run whose id may follow; 0 if all went well, 2 after bad
    input, 1 after anything else.
    """
    prepare_environment()
    terminate_as_interrupt()
    settings = json.loads(arguments[0])
    flow_run = None
    if arguments[1:]:
        with get_client(sync_client=True) as client:
            flow_run = client.read_flow_run(UUID(arguments[1]))
    state: Any = run_flow(tune, flow_run=flow_run, parameters=settings, return_type="state")
    return exit_status(state)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
