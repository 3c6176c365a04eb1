"""Promotion and rollback from the command line. Prefect is imported only where a server of it is known."""

from __future__ import annotations

import os
from typing import Any

from flows.running.console import print_line
from flows.running.environment import prepare_environment
from flows.running.promotion import person, promote_here
from flows.servers.server import running_server
from ssvh_model.errors import UserError
from tasks.machine.progress import ShownProgress
from tasks.params.load import load_params
from tasks.promotion.promote import rollback
from tasks.promotion.turn import Decision


def promote_by_hand(version: str, *, dry_run: bool, unmeasured: bool, again: bool) -> Decision:
    """`ssvh promote`: as a flow run where a Prefect server is known, else without one.

    Raises:
        UserError: as `promote_here`.
    """
    prepare_environment()
    if not (api := os.environ.get("PREFECT_API_URL") or running_server()):
        by = f"{person()}, ssvh promote"
        return promote_here(
            version, by=by, dry_run=dry_run, unmeasured=unmeasured, again=again, say=print_line
        )
    os.environ["PREFECT_API_URL"] = api  # before Prefect is imported, which reads it once
    from flows.promote import promote as flow

    state = flow(version, dry_run, unmeasured, again, return_state=True)
    if not state.is_completed():
        raise UserError(state.message or "the flow run failed")
    result: Any = state.result()
    decision: Decision = result
    return decision


def rollback_by_hand(to: str, *, reason: str, dry_run: bool) -> Decision:
    """`ssvh rollback`.

    Raises:
        UserError: as `tasks.promotion.promote.rollback`, or params.yaml is not in order.
    """
    prepare_environment()
    return rollback(
        load_params(),
        to=to,
        by=f"{person()}, ssvh rollback",
        reason=reason,
        dry_run=dry_run,
        say=print_line,
        progress=lambda what: ShownProgress(what, print_line),
    )
