"""The command `ssvh send-records`."""

from __future__ import annotations

import typer

from ssvh_model.errors import UserError


def send_records() -> None:
    """Send MLflow what it could not take while it was away. The next run does so, too."""
    from tasks import paths
    from tasks.records.journal import waiting_for
    from tasks.records.parents import close_abandoned
    from tasks.records.store import Store

    paths.check_project_folder()
    if list(paths.UNSENT.glob("*.jsonl")):
        close_abandoned(Store())  # sends it, too
    if left := waiting_for():
        raise UserError(f"{paths.UNSENT}: {', '.join(left)}")
    print("nothing waits")


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(send_records)
