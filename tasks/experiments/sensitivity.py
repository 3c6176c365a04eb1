"""How much the result depends on single parameters: what is tried, and what is found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssvh_model.errors import UserError
from ssvh_model.files import write_json
from ssvh_model.pictures.sensitivity import draw_grid, draw_line
from tasks import paths
from tasks.experiments.plan import Plan
from tasks.experiments.videos import find_corpus
from tasks.params.changes import with_changes
from tasks.params.keys import look_up
from tasks.params.sections import Params
from tasks.records.stage_run import StageRun
from tasks.records.store import Store

NAME = "sensitivity"


@dataclass(frozen=True)
class Trial:
    """One setting.

    Attributes:
        name: such as "sampler.noise 0.3", or of a grid "sampler.mask_ratio 0.25, sampler.noise 1.0".
        values: dotted key -> value.
    """

    name: str
    values: Mapping[str, float]


@dataclass(frozen=True)
class Trials:
    """What is tried.

    Attributes:
        lines: dotted key -> its trials, ascending.
        grid: all pairs of the grid's values, row by row.
        keys: the grid's two keys; empty without a grid.
    """

    lines: dict[str, list[Trial]]
    grid: list[Trial]
    keys: tuple[str, ...]

    def all(self) -> list[Trial]:
        """Every trial; one that stands in two places is trained once."""
        return [trial for line in self.lines.values() for trial in line] + self.grid


def find_trials(params: Params) -> Trials:
    """What params.yaml's section `sensitivity` asks for, with the present value among each key's values.

    Raises:
        UserError: a key or a value is not possible, or the grid has not two keys.
    """
    values = params.model_dump(by_alias=True)
    settings = params.sensitivity
    where = f"{paths.PARAMS}: {NAME}"
    lines = {}
    for key, tried in settings.values.items():
        own = look_up(values, key)
        numbers = sorted({_number(value, f"{where}.values.{key}") for value in (own, *tried)})
        lines[key] = [_trial({key: value}) for value in numbers]
    if len(settings.grid) not in (0, 2):
        raise UserError(f"{where}.grid has {len(settings.grid)} keys; allowed are two, or none for no grid")
    keys = tuple(settings.grid)
    axes = [sorted({_number(value, f"{where}.grid.{key}") for value in settings.grid[key]}) for key in keys]
    grid = [_trial(dict(zip(keys, pair, strict=True))) for pair in _pairs(axes)]
    return Trials(lines, grid, keys)


def _trial(values: dict[str, float]) -> Trial:
    return Trial(", ".join(f"{key} {value:g}" for key, value in values.items()), values)


def _pairs(axes: list[list[float]]) -> list[tuple[float, float]]:
    return [(first, second) for first in axes[0] for second in axes[1]] if axes else []


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{where} has {value!r}; allowed are numbers")
    return value


def plan_sensitivity(params: Params, features: Path, seeds: tuple[int, ...]) -> tuple[Plan, Trials]:
    """What there is to train; it is measured on validation videos and never on queries.

    Raises:
        UserError: parameters or features are at fault.
    """
    corpus, params = find_corpus(features, params, "validation")
    trials = find_trials(params)
    variants = {
        trial.name: with_changes(params, trial.values, where=f"{paths.PARAMS}: {NAME}: {trial.name}")
        for trial in trials.all()
    }
    if not variants:
        raise UserError(f"{paths.PARAMS}: {NAME} has neither values nor a grid; needed is one of them")
    return Plan(NAME, params, corpus, "validation", seeds, variants), trials


def finish_sensitivity(plan: Plan, trials: Trials, parent: str) -> dict[str, Any]:
    """Write `table.json` and a picture for each key and the grid to the plan's folder, and log them to the
    parent run.
    """
    folder = plan.folder
    found = {trial.name: [result.gmap for result in plan.results(trial.name)] for trial in trials.all()}
    own = plan.params.model_dump(by_alias=True)
    pictures = []
    for key, line in trials.lines.items():
        pictures.append(folder / f"{key}.png")
        draw_line(
            pictures[-1],
            key,
            {trial.values[key]: found[trial.name] for trial in line},
            present=look_up(own, key),
            remark=plan.remark,
        )
    if trials.grid:
        pictures.append(folder / "grid.png")
        draw_grid(
            pictures[-1],
            trials.keys[0],
            trials.keys[1],
            {
                (trial.values[trials.keys[0]], trial.values[trials.keys[1]]): found[trial.name]
                for trial in trials.grid
            },
            remark=plan.remark,
        )
    content: dict[str, Any] = {
        "features": plan.corpus.name,
        "measure": plan.measure,
        "bits": plan.params.model.bits,
        "seeds": list(plan.seeds),
        "values": {
            key: [{"value": trial.values[key], **_figures(found[trial.name])} for trial in line]
            for key, line in trials.lines.items()
        },
        "present": {key: look_up(own, key) for key in trials.lines},
        "grid": [{**trial.values, **_figures(found[trial.name])} for trial in trials.grid],
    }
    write_json(folder / "table.json", content)
    run = StageRun(Store(), parent, parent)
    for path in (folder / "table.json", *pictures):
        run.log_artifact(path)
    return content


def _figures(gmaps: list[float]) -> dict[str, Any]:
    return {
        "gmap_mean": float(np.mean(gmaps)),
        "gmap_std": float(np.std(gmaps, ddof=1)) if len(gmaps) > 1 else None,
        "gmap": gmaps,
    }
