"""The sensitivity to single parameters as a Prefect flow. `ssvh sensitivity` starts it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.states import State
from rich.box import SIMPLE
from rich.table import Table

from flows.running.console import wide_console
from flows.running.ending import bad_input
from flows.running.experiments import main, run_experiment
from ssvh_model.errors import UserError
from tasks.experiments.plan import parse_seeds
from tasks.experiments.sensitivity import finish_sensitivity, plan_sensitivity
from tasks.experiments.tables import spread
from tasks.params.changes import parse_changes, with_changes
from tasks.params.load import load_params


@flow(name="sensitivity", persist_result=False)
def sensitivity(features: str, seeds: str, workers: int, changes: list[str]) -> State[Any]:
    """Train with other values of single parameters, and of two together.

    Args:
        features: feature file.
        seeds: such as "1,2,3".
        workers: trainings at once.
        changes: `key=value` for params.yaml, for all trainings.

    Returns:
        Completed, or Failed with the reason in one line.
    """
    try:
        params = with_changes(load_params(), parse_changes(changes), where="--set")
        plan, trials = plan_sensitivity(params, Path(features), parse_seeds(seeds))

        def finish(parent: str) -> None:
            found = finish_sensitivity(plan, trials, parent)
            shown = Table("parameter", "value", "GMAP", "", box=SIMPLE)
            for key, rows in found["values"].items():
                for row in rows:
                    mark = "in params.yaml" if row["value"] == found["present"][key] else ""
                    shown.add_row(key, f"{row['value']:g}", spread(row["gmap"]), mark)
            for row in found["grid"]:
                values = ", ".join(f"{row[key]:g}" for key in trials.keys)
                shown.add_row(" and ".join(trials.keys), values, spread(row["gmap"]), "")
            console = wide_console()
            console.print(f"\n{plan.heading}", highlight=False)
            console.print(shown)
            console.print(f"table and pictures: {plan.folder}/", highlight=False)

        return run_experiment(plan, workers, finish)
    except UserError as error:
        return bad_input(error)


if __name__ == "__main__":
    sys.exit(main(sensitivity, sys.argv[1:]))
