"""The pipeline as a Prefect flow: a line a stage, in their order. DVC decides below them what runs; the
others show as Cached.

A stage's work is a Prefect task of its own (tasks/stages/), which DVC starts in a process of its own: what
stands here shows it. `python -m flows.pipeline` starts it by hand.
"""

from __future__ import annotations

import sys
from typing import Any

from prefect import flow, get_run_logger
from prefect.states import Completed, State

from flows.running.ending import bad_input, exit_status
from flows.running.reproduction import StageFailed, reproduction
from ssvh_model.errors import UserError
from tasks.machine.processes import leave_garbage
from tasks.stages.clusters import clusters
from tasks.stages.corpus import corpus
from tasks.stages.evaluate import evaluate
from tasks.stages.features import features
from tasks.stages.p2set import p2set
from tasks.stages.register import register
from tasks.stages.warmup import warmup


@flow(name="pipeline", persist_result=False)
def pipeline() -> State[Any]:
    """Bring every stage up to date.

    Returns:
        Completed, or Failed with the reason in one line.
    """
    try:
        with reproduction() as reproduce:
            reproduce(corpus)
            reproduce(features)
            reproduce(warmup)
            for number in reproduce.rounds:
                reproduce(clusters, number)
                reproduce(p2set, number)
            reproduce(evaluate)
            reproduce(register)
    except UserError as error:
        return bad_input(error)
    except StageFailed as failed:
        return failed.state
    message = "all stages are up to date"
    if register.name in reproduce.ran and reproduce.params.promotion.after_training:
        return Completed(message=f"{message}; {_promotion()}")
    return Completed(message=message)


def _promotion() -> str:
    """Run the promotion as a flow of its own within this one; what came of it. A training is not the worse
    for it.
    """
    from flows.promote import promote

    state = promote(return_state=True)
    if not state.is_completed():
        get_run_logger().error("promotion: %s", state.message)
    return f"promotion: {state.message}"


def main(arguments: list[str]) -> int:
    """Run the flow; 0 if all went well, 2 after bad input, 1 after anything else."""
    if arguments:
        print("usage: python -m flows.pipeline", file=sys.stderr)
        return 2
    state = pipeline(return_state=True)
    leave_garbage()
    return exit_status(state)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
