"""The command `ssvh preset`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(help="Named sets of values for params.yaml, such as those of a published data set.")


@app.callback(invoke_without_command=True)
def list_presets(context: typer.Context) -> None:
    """Named sets of values for params.yaml, such as those of a published data set.

    Without a command, their list.
    """
    from tasks.params.presets import all_presets
    from tasks.paths import check_project_folder

    check_project_folder()
    if context.invoked_subcommand is None:
        for preset in all_presets():
            print(f"{preset.name:12} {preset.description}")


@app.command()
def show(name: Annotated[str, typer.Argument(help="Name of the preset.")]) -> None:
    """Print a preset: its values, where they come from and what is left open."""
    from tasks.params.presets import find_preset

    print(find_preset(name).text, end="")


@app.command()
def apply(
    names: Annotated[list[str], typer.Argument(help="Names of presets; the later one counts.")],
    bits: Annotated[int | None, typer.Option(help="Length of a code; otherwise it stays as it is.")] = None,
    path: Annotated[
        Path | None, typer.Option(help="Folder of the feature files; published/ otherwise.")
    ] = None,
) -> None:
    """Write presets into params.yaml, one after the other.

    Comments stay, and nothing is written that is not in order.
    """
    from tasks.params.presets import apply_presets

    changes: dict[str, Any] = {}
    if bits is not None:
        changes["model.bits"] = bits
    if path is not None:
        changes["corpus.path"] = str(path)
    lines = apply_presets(names, changes=changes)
    print("\n".join([f"params.yaml: {len(lines)} values changed", *(f"  {line}" for line in lines)]))
