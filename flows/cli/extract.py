"""The command `ssvh extract`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def extract(
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
) -> None:
    """Extract features with several processes of this machine; `ssvh run` then joins what they made."""
    from flows.running.environment import prepare_environment, refuse_nested
    from flows.servers.server import prefect_server
    from ssvh_model.errors import UserError
    from tasks.machine import programs
    from tasks.params.load import load_params
    from tasks.paths import check_project_folder

    prepare_environment()
    refuse_nested()
    check_project_folder()
    if load_params().running.extraction == "ray":
        raise UserError(
            "params.yaml: running.extraction is ray, whose nodes make the shards when the stage features runs; allowed here is local"
        )
    with prefect_server():
        raise typer.Exit(programs.run([sys.executable, "-m", "flows.extract", str(workers)], extra={}))


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(extract)
