"""The command `ssvh send-records`."""

from __future__ import annotations

import typer

from ssvh_model.errors import UserError


def send_records() -> None:
    """Send MLflow what it could not take while it was away. The next run does so, too."""
    from tasks import paths
    from tasks.journal import send_left_behind
    from tasks.tracking import Store

    paths.check_project_folder()
    if not list(paths.UNSENT.glob("*.jsonl")):
        print("nothing waits")
        return
    store = Store()
    if not send_left_behind(store.client, store.uri, print):
        raise UserError(f"MLflow at {store.uri} takes nothing; the records stay in {paths.UNSENT}/")


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(send_records)
