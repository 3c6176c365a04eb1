"""The command line: `ssvh --help` lists what there is."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from flows.cli import (
    codes,
    experiments,
    extract,
    models,
    new,
    params,
    pipeline,
    presets,
    records,
    service,
    tune,
)
from ssvh_model.errors import UserError
from tasks.machine.last_line import print_last
from tasks.machine.threads import sleep_when_idle

app = typer.Typer(
    name="ssvh",
    help="Self-supervised video hashing, from videos to a registered hasher. Start it in the project's folder.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from tasks.project.code import installed_package

        print(installed_package())
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the installed version."
        ),
    ] = False,
) -> None:
    """What can be said without a command."""


new.add_to(app)
app.add_typer(params.app, name="params")
app.add_typer(presets.app, name="preset")
pipeline.add_to(app)
codes.add_to(app)
experiments.add_to(app)
models.add_to(app)
extract.add_to(app)
records.add_to(app)
service.add_to(app)
tune.add_to(app)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; bad input is one line and exit status 2.

    What a terminal of another encoding than UTF-8 can't show, such as a character of a video's name, is
    written with a backslash.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    sleep_when_idle()
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
