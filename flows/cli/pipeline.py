"""`ssvh run`, `train`, `report`, `ui` and `clean`: the pipeline and its pages."""

from __future__ import annotations

import typer


def add_to(app: typer.Typer) -> None:
    """Give the command line its commands on the pipeline."""
    for command in (run, train, report, ui, clean):
        app.command()(command)


def run() -> None:
    """Bring everything up to date (dvc repro) and print a short report."""
    from flows.commands import run as runner

    raise typer.Exit(runner.run())


def train() -> None:
    """The same as a schedule does it: the Prefect flow, stage by stage."""
    from flows.commands import run as runner

    raise typer.Exit(runner.train())


def report() -> None:
    """Print the short report of the last run again."""
    from flows.commands.report import short_report
    from tasks.paths import check_project_folder

    check_project_folder()
    print(short_report())


def ui() -> None:
    """Open the pages of Prefect, MLflow and Optuna; ctrl-C ends them."""
    from flows.servers.ui import ui as pages
    from tasks.paths import check_project_folder

    check_project_folder()
    pages()


def clean() -> None:
    """Remove work in progress of stages that were killed.

    Results and records stay, and nothing goes while a process uses it.
    """
    from flows.commands import clean as cleaner
    from tasks import paths

    paths.check_project_folder()
    print(f"removed what was in {paths.WORK}/" if cleaner.clean() else f"there is no {paths.WORK}/")
