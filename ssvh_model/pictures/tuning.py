"""A study at a glance: its values in the order of the trials, which parameters matter, and where each is
best.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from ssvh_model.pictures.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    PALE,
    VERMILLION,
    dress,
    heading,
    new_figure,
    save,
)

COMPLETE, PRUNED = "complete", "stopped early"
LEGEND: dict[str, Any] = {
    "loc": "upper right",
    "ncols": 4,
    "frameon": False,
    "fontsize": 9,
    "labelcolor": GREY,
}
LOOKS = {COMPLETE: ("o", BLUE), PRUNED: ("x", GREY)}


@dataclass(frozen=True)
class ShownTrial:
    """A trial as pictures show it.

    Attributes:
        number: in the order in which trials were begun.
        value: how good it is; of one that was stopped early, when it was stopped.
        complete: whether it was trained to its end.
        parameters: name -> value.
    """

    number: int
    value: float
    complete: bool
    parameters: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """One of the kinds that differ in the pictures."""
        return COMPLETE if self.complete else PRUNED


def draw_history(
    path: Path, trials: Sequence[ShownTrial], *, value: str, first: float | None, remark: str
) -> None:
    """Every trial's value, and the best one so far.

    Args:
        path: the PNG to write.
        trials: at least one.
        value: what it is.
        first: value of params.yaml's own parameters, drawn as a line; None if it is not known.
        remark: what the figures are of.
    """
    figure = new_figure(9.6, 4.4)
    heading(figure, "Tuning, trial by trial", remark)
    axes = figure.add_subplot()
    dress(axes, x="trial", y=value)
    _dots(axes, trials, [trial.number for trial in trials])
    complete = sorted((trial for trial in trials if trial.complete), key=lambda trial: trial.number)
    if complete:
        best = np.maximum.accumulate([trial.value for trial in complete])
        end = max(trial.number for trial in trials)
        axes.step(
            [*(trial.number for trial in complete), end],
            [*best, best[-1]],
            where="post",
            color=GREEN,
            linewidth=1.8,
            label="best so far",
        )
    if first is not None:
        axes.axhline(
            first, color=VERMILLION, linewidth=1.2, linestyle=(0, (4, 3)), label="params.yaml at the start"
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(*axes.get_legend_handles_labels(), **LEGEND)
    save(figure, path)


def draw_importances(path: Path, importances: Mapping[str, float], *, remark: str) -> None:
    """A bar a parameter: the share of the differences between trials that goes with it.

    Args:
        path: the PNG to write.
        importances: name -> share, 1 in total; at least one.
        remark: what the figures are of.
    """
    ordered = sorted(importances.items(), key=lambda one: one[1])
    figure = new_figure(7.6, 1.5 + 0.34 * len(ordered))
    heading(figure, "What matters", remark)
    axes = figure.add_subplot()
    dress(axes, x="share of importance")
    axes.grid(False)
    names, shares = [name for name, _ in ordered], [share for _, share in ordered]
    axes.barh(names, shares, color=BLUE, height=0.62)
    for place, share in enumerate(shares):
        axes.text(share + 0.01, place, f"{share:.2f}", va="center", fontsize=9, color=INK)
    axes.set_xlim(0, max(shares) * 1.15 or 1.0)
    save(figure, path)


def draw_slices(
    path: Path,
    trials: Sequence[ShownTrial],
    *,
    value: str,
    log: Sequence[str],
    present: Mapping[str, Any],
    remark: str,
) -> None:
    """A panel a parameter: the value of every trial over what it had there.

    Args:
        path: the PNG to write.
        trials: at least one.
        value: what it is.
        log: names whose axis shows magnitudes.
        present: name -> what params.yaml had at the start, marked.
        remark: what the figures are of.
    """
    names = list(dict.fromkeys(name for trial in trials for name in trial.parameters))
    across = min(4, len(names))
    down = math.ceil(len(names) / across)
    figure = new_figure(max(8.6, 3.1 * across), 2.6 * down + 0.9)
    heading(figure, "Where each parameter is best", remark)
    for place, name in enumerate(names):
        having = [trial for trial in trials if name in trial.parameters]
        values = [trial.parameters[name] for trial in having]
        axes = figure.add_subplot(down, across, place + 1)
        dress(axes, x=name, y=value if place % across == 0 else "")
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        shown = {str(value): at for at, value in enumerate(dict.fromkeys(values))}
        _dots(axes, having, values if numbers else [shown[str(value)] for value in values])
        mark = present.get(name)
        if numbers and name in log:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=6))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        elif all(isinstance(value, int) for value in values):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        if not numbers:
            axes.set_xticks(list(shown.values()), list(shown))
            mark = shown.get(str(mark))
        if mark is not None:
            axes.axvline(mark, color=GREEN, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    line = figure.axes[0].plot([], [], color=GREEN, linewidth=1.2, linestyle=(0, (4, 3)))
    figure.legend(
        [*handles, *line],
        [*labels, "params.yaml at the start"],
        **LEGEND,
    )
    save(figure, path)


def _dots(axes: Any, trials: Sequence[ShownTrial], places: Sequence[float]) -> None:
    for kind, (marker, colour) in LOOKS.items():
        chosen = [(at, trial.value) for at, trial in zip(places, trials, strict=True) if trial.kind == kind]
        if chosen:
            axes.plot(
                *zip(*chosen, strict=True),
                marker,
                color=colour,
                markersize=5,
                markeredgecolor=PALE if marker == "o" else colour,
                markeredgewidth=0.6 if marker == "o" else 1.2,
                label=kind,
                zorder=2,
            )
