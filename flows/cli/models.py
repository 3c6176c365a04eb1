"""The commands about versions: models, promote, rollback."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tasks.promotion.turn import Decision

DryRun = Annotated[bool, typer.Option("--dry-run", help="Measure and decide, but change nothing.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def models(
    log: Annotated[
        bool, typer.Option("--log", help="The promotion log instead: what was decided, and why.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the registered versions: aliases, figures, last decision, and what each was made from."""
    from flows.commands.models_table import log_table, versions_table
    from flows.running.environment import prepare_environment
    from tasks.params.load import load_params
    from tasks.promotion.listing import list_log
    from tasks.registry.listing import list_versions

    prepare_environment()
    model = load_params().register_.model
    rows = list_log(model) if log else list_versions(model)
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    from rich.console import Console

    console = Console()
    console = console if console.is_terminal else Console(width=150)
    console.print(log_table(rows) if log else versions_table(rows), highlight=False)


def promote(
    version: Annotated[str, typer.Argument(help="Alias or number of the version to promote.")] = "challenger",
    dry_run: DryRun = False,
    unmeasured: Annotated[
        bool,
        typer.Option(
            "--unmeasured",
            help="Let pass what can't be measured: retrieval without labels, a champion made for other features.",
        ),
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Also a version that was rolled back.")] = False,
    as_json: Json = False,
) -> None:
    """Make the challenger the champion if it passes the gate (params.yaml, promotion). Both are measured now.

    Exit status: 0 if it is the champion now (with --dry-run: would be), 1 if the champion stays, 2 after an
    error; then it stays, too.
    """
    from flows.commands.promotion import promote_by_hand

    decision = promote_by_hand(version, dry_run=dry_run, unmeasured=unmeasured, again=again)
    _finish(decision, dry_run, as_json)


def rollback(
    to: Annotated[
        str, typer.Option(help="Alias or number of a version; the previous champion if not given.")
    ] = "",
    reason: Annotated[str, typer.Option(help="Why; it is kept in the log.")] = "",
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Return to the previous champion. Exit status as for promote."""
    from flows.commands.promotion import rollback_by_hand

    _finish(rollback_by_hand(to, reason=reason, dry_run=dry_run), dry_run, as_json)


def _finish(decision: Decision, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print(json.dumps({**decision.record, "entry": decision.number, "dry_run": dry_run}, indent=2))
    else:
        from flows.commands.models_table import decision_lines

        print("\n".join(decision_lines(decision, dry_run)))
    raise typer.Exit(0 if decision.moved or decision.record["outcome"] == "unchanged" else 1)


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (models, promote, rollback):
        app.command()(command)
