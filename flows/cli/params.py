"""`ssvh params`: what looks after params.yaml."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True, help="Look after params.yaml.")


@app.command()
def check() -> None:
    """Say whether params.yaml is in order."""
    from tasks.experiments.ablation.variants import variants
    from tasks.params.load import load_params
    from tasks.tuning.space import read_space

    params = load_params()
    variants(params)
    read_space(params)
    print("params.yaml is in order")
