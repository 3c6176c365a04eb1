"""The command line: `ssvh --help` lists what there is."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from flows import (
    cli_codes,
    cli_experiments,
    cli_extract,
    cli_models,
    cli_presets,
    cli_records,
    cli_service,
    cli_tune,
)
from ssvh_model.errors import UserError
from tasks.last_line import print_last

app = typer.Typer(
    name="ssvh",
    help="Self-supervised video hashing, from videos to a registered hasher. Start it in the project's folder.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
params_app = typer.Typer(no_args_is_help=True, help="Look after params.yaml.")
app.add_typer(params_app, name="params")
app.add_typer(cli_presets.app, name="preset")
cli_codes.add_to(app)
cli_experiments.add_to(app)
cli_models.add_to(app)
cli_extract.add_to(app)
cli_records.add_to(app)
cli_service.add_to(app)
cli_tune.add_to(app)


@app.command()
def run() -> None:
    """Bring everything up to date (dvc repro) and print a short report."""
    from flows import run as runner

    raise typer.Exit(runner.run())


@app.command()
def train() -> None:
    """The same as a schedule does it: the Prefect flow, stage by stage."""
    from flows import run as runner

    raise typer.Exit(runner.train())


@app.command()
def report() -> None:
    """Print the short report of the last run again."""
    from flows.report import short_report
    from tasks.paths import check_project_folder

    check_project_folder()
    print(short_report())


@app.command()
def ui() -> None:
    """Open the pages of Prefect, MLflow and Optuna; ctrl-C ends them."""
    from flows.ui import ui as pages
    from tasks.paths import check_project_folder

    check_project_folder()
    pages()


@app.command()
def clean() -> None:
    """Remove work in progress of stages that were killed. Results and records stay, and nothing goes while a process uses it."""
    from flows import clean as cleaner
    from tasks import paths

    paths.check_project_folder()
    print(f"removed what was in {paths.WORK}/" if cleaner.clean() else f"there is no {paths.WORK}/")


@params_app.command()
def check() -> None:
    """Say whether params.yaml is in order."""
    from tasks.ablation_variants import variants
    from tasks.params import load_params
    from tasks.tuning_space import read_space

    params = load_params()
    variants(params)
    read_space(params)
    print("params.yaml is in order")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; bad input is one line and exit status 2."""
    sys.exit(exit_status(lambda: app(arguments, standalone_mode=True)))


def exit_status(command: Callable[[], object]) -> int:
    """Run `command` and return the exit status that the process should have."""
    try:
        command()
    except UserError as error:
        print_last(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return 0


if __name__ == "__main__":
    main()
