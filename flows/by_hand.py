"""Promotion and rollback from the command line. Prefect is imported only where a server of it is known."""

from __future__ import annotations

import getpass
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

from flows.environment import prepare_environment
from flows.server import running_server
from ssvh_model.errors import UserError
from tasks.params import load_params
from tasks.progress import ShownProgress
from tasks.promotion import promote, rollback
from tasks.promotion_turn import Decision

Say = Callable[[str], None]


def promote_here(
    version: str, *, by: str, dry_run: bool, unmeasured: bool, again: bool, say: Say
) -> Decision:
    """Promote in this process, with the parameters of params.yaml.

    Raises:
        UserError: as `tasks.promotion.promote`, or params.yaml is not in order.
    """
    return promote(
        load_params(),
        which=version,
        by=by,
        dry_run=dry_run,
        unmeasured=unmeasured,
        again=again,
        say=say,
        progress=lambda what: ShownProgress(what, say),
    )


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
        UserError: as `tasks.promotion.rollback`, or params.yaml is not in order.
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


def person() -> str:
    """Who is at work here: "anna@laptop"."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def print_line(text: str) -> None:
    """Say something beside what the command prints."""
    print(text, file=sys.stderr, flush=True)
