"""The commands of the pipeline as a service: setup, deploy, worker, watch."""

from __future__ import annotations

from typing import Annotated

import typer


def setup() -> None:
    """Make the PostgreSQL databases and the bucket that the environment names, where they are missing.

    docs/outgrown.env has the names.
    """
    from flows.servers.setup import set_up

    set_up()


def deploy() -> None:
    """Register work pools, deployments and automations on the Prefect server that PREFECT_API_URL names."""
    from flows.servers.deploy import deploy as register

    register()


def worker(
    pool: Annotated[str, typer.Option(help="Work pool whose runs it takes: cpu, gpu, or one of yours.")],
    gpus: Annotated[
        str,
        typer.Option(
            help="Ids of GPUs, with commas: a worker each, which sees only its own. Without: one that sees none."
        ),
    ] = "",
) -> None:
    """Take runs from a work pool, one at a time for each worker; ctrl-C ends the workers and their runs."""
    from flows.servers.worker import work

    work(pool, [gpu.strip() for gpu in gpus.split(",") if gpu.strip()])


def watch(
    only_look: Annotated[
        bool, typer.Option("--only-look", help="Say whether a training is due, but do not start it.")
    ] = False,
) -> None:
    """Look for new videos in the folder, and train again if there are many or if they are of another kind."""
    from flows.commands.watch import start

    raise typer.Exit(start(only_look=only_look))


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (setup, deploy, worker, watch):
        app.command()(command)
