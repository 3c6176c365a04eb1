"""Promotion as a Prefect flow: what a deployment runs after training, and `ssvh promote` where there is a
Prefect server.
"""

from __future__ import annotations

from typing import Any

from prefect import flow, get_run_logger
from prefect.context import FlowRunContext
from prefect.states import Completed, State

from flows.running.ending import bad_input
from flows.running.environment import prepare_environment
from flows.running.promotion import person, promote_here
from ssvh_model.errors import UserError

PROMOTED, KEPT = "Promoted", "Kept"


@flow(name="promotion", persist_result=False)
def promote(
    version: str = "challenger", dry_run: bool = False, unmeasured: bool = False, again: bool = False
) -> State[Any]:
    """Hold a challenger against the champion, both measured now, and put it in its place if it passes the
    gate of params.yaml.

    Args:
        version: alias or number of the challenger.
        dry_run: measure and judge, but change nothing.
        unmeasured: let pass what can't be measured, such as retrieval without labels.
        again: also a version that was rolled back.

    Returns:
        Completed as "Promoted" or "Kept", with the reason; or Failed with the reason in one line.
    """
    prepare_environment()
    context = FlowRunContext.get()
    assert context is not None and context.flow_run is not None, "the flow engine sets it"
    run, logger = context.flow_run, get_run_logger()
    by = f"{person()}, Prefect flow run {run.name} ({run.id})"
    try:
        decision = promote_here(
            version, by=by, dry_run=dry_run, unmeasured=unmeasured, again=again, say=logger.info
        )
    except UserError as error:
        return bad_input(error)
    message = f"{decision.headline}: {decision.record['reason']}"
    logger.info(message)
    return Completed(name=PROMOTED if decision.moved else KEPT, message=message, data=decision)
