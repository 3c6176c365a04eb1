"""The ablation as a Prefect flow: every variant with every seed, then the table. `ssvh ablate` starts it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.states import State

from flows.running.console import wide_console
from flows.running.ending import bad_input
from flows.running.experiments import main, run_experiment
from ssvh_model.errors import UserError
from tasks.experiments.ablation.report import finish_ablation, plan_ablation
from tasks.experiments.ablation.table import notes, table
from tasks.experiments.one_training import Measure
from tasks.experiments.plan import parse_seeds
from tasks.params.changes import parse_changes, with_changes
from tasks.params.load import load_params


@flow(name="ablation", persist_result=False)
def ablate(
    features: str, seeds: str, workers: int, measure: Measure, variants: list[str], changes: list[str]
) -> State[Any]:
    """Train the variants and compare them.

    Args:
        features: feature file.
        seeds: such as "1,2,3".
        workers: trainings at once.
        measure: "validation" or "query".
        variants: names of those that are wanted; none means all.
        changes: `key=value` for params.yaml, for all variants.

    Returns:
        Completed, or Failed with the reason in one line.
    """
    try:
        params = with_changes(load_params(), parse_changes(changes), where="--set")
        plan, listed = plan_ablation(params, Path(features), measure, parse_seeds(seeds), tuple(variants))

        def finish(parent: str) -> None:
            ablation = finish_ablation(plan, listed, parent)
            console = wide_console()
            console.print(f"\n{plan.heading}", highlight=False)
            console.print(table(ablation, plan.params.ablation.confidence))
            for note in notes(ablation):
                console.print(f"- {note}", highlight=False)
            console.print(f"\ntable and picture: {plan.folder}/", highlight=False)

        return run_experiment(plan, workers, finish)
    except UserError as error:
        return bad_input(error)


if __name__ == "__main__":
    sys.exit(main(ablate, sys.argv[1:]))
