"""The command `ssvh extract`."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer


def extract(
    workers: Annotated[int, typer.Option(min=1, help="Shares: processes, or runs on the pool.")] = 2,
    on_pool: Annotated[
        bool,
        typer.Option("--on-pool", help="Let the workers of the deployment extract-share's work pool do it."),
    ] = False,
) -> None:
    """Extract features with several workers; `ssvh run` then joins what they made."""
    from flows.running.environment import prepare_environment, refuse_nested
    from flows.servers.server import prefect_server
    from ssvh_model.errors import UserError
    from tasks.machine import programs
    from tasks.params.load import load_params
    from tasks.paths import check_project_folder

    prepare_environment()
    refuse_nested()
    check_project_folder()
    load_params()
    if on_pool and not os.environ.get("PREFECT_API_URL"):
        raise UserError("--on-pool: needs a Prefect server with workers; PREFECT_API_URL must name it")
    options = ["--on-pool"] if on_pool else []
    with prefect_server():
        raise typer.Exit(
            programs.run([sys.executable, "-m", "flows.extract", str(workers), *options], extra={})
        )


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(extract)
