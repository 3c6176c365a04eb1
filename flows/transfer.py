"""Measuring a hasher on another corpus, as a Prefect flow. `ssvh transfer` starts it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext
from prefect.states import Completed, Failed, State

from flows.running.console import wide_console
from flows.running.ending import bad_input
from flows.running.experiments import main
from ssvh_model.errors import UserError
from tasks import paths
from tasks.experiments.transfer import transfer as measure
from tasks.experiments.transfer_report import keep_transfer, sentence, table
from tasks.machine.progress import ShownProgress
from tasks.params.load import load_params


@flow(name="transfer", persist_result=False)
def transfer(to: str, state: str, trained_there: str) -> State[Any]:
    """Measure the hasher of a state on another corpus.

    Args:
        to: feature file of that corpus.
        state: folder of the training state; "" for the newest one.
        trained_there: state of a hasher that was trained on that corpus; "" for none.

    Returns:
        Completed, or Failed with the reason in one line.
    """
    context = FlowRunContext.get()
    assert context is not None and context.flow_run is not None, "the flow engine sets it"
    flow_run = str(context.flow_run.id)
    try:
        params = load_params()
        folder = Path(state) if state else paths.state(params.last_state)
        there = Path(trained_there) if trained_there else None
    except UserError as error:
        return bad_input(error)

    @task(name="measure", task_run_name="measure", cache_policy=NO_CACHE, persist_result=False)
    def run() -> State[Any]:
        try:
            found = measure(params, folder, Path(to), there, ShownProgress("queries", get_run_logger().info))
            path = keep_transfer(found, folder, there, flow_run)
        except UserError as error:
            return Failed(message=str(error))
        console = wide_console()
        console.print(table(found, params.ablation.confidence))
        for line in (sentence(found), *found.remarks):
            console.print(line, highlight=False)
        console.print(f"all figures: {path}", highlight=False)
        return Completed(message=str(path))

    finished: State[Any] = run(return_state=True)
    if finished.is_completed():
        return Completed(message=finished.message)
    return bad_input(UserError(finished.message or "the task failed"))


if __name__ == "__main__":
    sys.exit(main(transfer, sys.argv[1:]))
