"""The commands that experiment with the method: ablate, sensitivity, transfer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tasks import paths

Features = Annotated[
    Path,
    typer.Option(
        help="Feature file of the stage features, or any HDF5 file with features, labels and is_query."
    ),
]
Seeds = Annotated[str, typer.Option(help="Seeds of every variant, with commas.")]
Workers = Annotated[int, typer.Option(min=1, help="Trainings at once; the cores are shared between them.")]
Changes = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of params.yaml, for every variant."),
]


def ablate(
    features: Features = paths.FEATURE_FILE,
    seeds: Seeds = "1,2,3",
    workers: Workers = 1,
    measure: Annotated[
        Literal["validation", "query"],
        typer.Option(
            help="Whose retrieval is measured: validation to choose by, query for figures to publish."
        ),
    ] = "validation",
    variants: Annotated[str, typer.Option(help="Only these beside the full method, with commas.")] = "",
    changes: Changes = [],  # noqa: B006 - typer makes a new list for every call
) -> None:
    """Train the method without each of its parts, over several seeds, and print what each adds."""
    from flows.commands.start import start

    settings = {
        "features": str(features),
        "seeds": seeds,
        "workers": workers,
        "measure": measure,
        "variants": [name.strip() for name in variants.split(",") if name.strip()],
        "changes": changes,
    }
    raise typer.Exit(start("flows.ablate", settings))


def sensitivity(
    features: Features = paths.FEATURE_FILE,
    seeds: Seeds = "1,2,3",
    workers: Workers = 1,
    changes: Changes = [],  # noqa: B006 - typer makes a new list for every call
) -> None:
    """Train with other values of single parameters, and plot what they do.

    The section sensitivity of params.yaml lists them.
    """
    from flows.commands.start import start

    settings = {"features": str(features), "seeds": seeds, "workers": workers, "changes": changes}
    raise typer.Exit(start("flows.sensitivity", settings))


def transfer(
    to: Annotated[Path, typer.Option(help="Feature file of the other corpus.")],
    state: Annotated[Path | None, typer.Option(help="Training state; the newest one if not given.")] = None,
    trained_there: Annotated[
        Path | None,
        typer.Option(help="State of a hasher that was trained on the other corpus, to compare with."),
    ] = None,
) -> None:
    """Measure the trained hasher on another corpus, beside that corpus's yardsticks."""
    from flows.commands.start import start

    settings = {
        "to": str(to),
        "state": str(state or ""),
        "trained_there": str(trained_there or ""),
    }
    raise typer.Exit(start("flows.transfer", settings))


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (ablate, sensitivity, transfer):
        app.command()(command)
