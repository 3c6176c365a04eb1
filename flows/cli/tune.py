"""The command `ssvh tune`."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli.experiments import Changes, Features
from tasks import paths


def tune(
    features: Features = paths.FEATURE_FILE,
    study: Annotated[
        str, typer.Option(help="Name of the study; otherwise one that stands for all that it depends on.")
    ] = "",
    trials: Annotated[
        int | None,
        typer.Option(
            min=1, help="Trials that shall come to their end; otherwise as many as before, or tuning.trials."
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Workers at the study; more than one need PostgreSQL (OPTUNA_STORAGE).")
    ] = 1,
    pool: Annotated[
        str, typer.Option(help="Prefect work pool that runs the workers; otherwise they are processes here.")
    ] = "",
    apply: Annotated[bool, typer.Option("--apply", help="Write the best values into params.yaml.")] = False,
    changes: Changes = [],  # noqa: B006 - typer makes a new list for every call
) -> None:
    """Search for better values of what params.yaml's section tuning lists, by validation videos only.

    Started again, it goes on or joins.
    """
    from flows.commands.tune import Settings, run

    raise typer.Exit(run(Settings(str(features), study, trials, changes, workers, pool, apply)))


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(tune)
