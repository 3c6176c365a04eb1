"""A promotion in this process, by the parameters of params.yaml: what `ssvh promote` and the flow share."""

from __future__ import annotations

import getpass
import socket

from tasks.machine.progress import Say, ShownProgress
from tasks.params.load import load_params
from tasks.promotion.promote import promote
from tasks.promotion.turn import Decision


def promote_here(
    version: str, *, by: str, dry_run: bool, unmeasured: bool, again: bool, say: Say
) -> Decision:
    """Promote in this process, with the parameters of params.yaml.

    Raises:
        UserError: as `tasks.promotion.promote.promote`, or params.yaml is not in order.
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


def person() -> str:
    """Who is at work here: "anna@laptop"."""
    return f"{getpass.getuser()}@{socket.gethostname()}"
