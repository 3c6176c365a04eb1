"""Loss terms and validation GMAP over epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, MaxNLocator

from ssvh_model.pictures.style import (
    BLUE,
    GREEN,
    GREY,
    PALE,
    SHADE,
    dress,
    finite_or_gap,
    heading,
    new_figure,
    save,
)
from ssvh_model.training.figures import (
    CLUSTER_AGREEMENT,
    LABEL_FREE_SCORE,
    VALIDATION_GMAP,
    VALIDATION_GMAP_FINE,
)
from ssvh_model.training.selection import SelectedState

TITLES = {
    "loss": "Total loss",
    "reconstruction": "Frame reconstruction",
    "view_contrastive": "Contrast between the two views",
    "p2set": "Contrast with the anchors (P2Set)",
    "similarity": "Distance to the start's similarities",
    CLUSTER_AGREEMENT: "Agreement of clusters of two halves",
    LABEL_FREE_SCORE: "Score without labels",
    VALIDATION_GMAP: "GMAP on the validation videos",
    VALIDATION_GMAP_FINE: "The same by the finer labels",
}


def draw_curves(
    path: Path,
    rows: Sequence[Mapping[str, object]],
    *,
    columns: Sequence[str] | None = None,
    selection: SelectedState | None = None,
) -> None:
    """One panel a quantity over the epochs, phases shaded in turn.

    Args:
        path: the PNG to write.
        rows: one an epoch, in order, with `epoch`, `phase` ("warmup", "round-1", ...) and numbers; a number
            may be missing.
        columns: which numbers, in this order; all of them if None. A column without any number gets no panel.
        selection: of a state, which is named; the panel of each figure that it was selected by shows the
            start's value, too.

    Raises:
        ValueError: there are no rows.
    """
    if not rows:
        raise ValueError("no epochs to draw")
    if columns is None:
        columns = list(dict.fromkeys(name for row in rows for name in row if name not in ("epoch", "phase")))
        columns.sort(key=lambda name: list(TITLES).index(name) if name in TITLES else len(TITLES) - 1.5)
    values = {name: finite_or_gap([row.get(name) for row in rows]) for name in columns}
    values = {name: numbers for name, numbers in values.items() if np.isfinite(numbers).any()}
    epochs = finite_or_gap([row.get("epoch") for row in rows])
    if not np.all(np.diff(epochs) > 0):
        epochs = np.arange(1, len(rows) + 1, dtype=np.float64)  # counted anew in each phase: count through

    across = 2 if len(values) in (2, 4) else min(3, max(1, len(values)))
    down = max(1, math.ceil(len(values) / across))
    figure = new_figure(4.3 * across if across > 1 else 6.5, 2.9 * down + 0.7)
    phases = [str(row.get("phase", "")) for row in rows]
    remark = _remark(phases)
    if selection is not None:
        remark += f"; selected: the {selection.state}"
    heading(figure, "Training, epoch by epoch", remark)
    for index, (name, numbers) in enumerate(values.items()):
        axes = figure.add_subplot(down, across, index + 1)
        is_gmap = name == VALIDATION_GMAP
        dress(axes, title=TITLES.get(name, name.replace("_", " ")), x="epoch", title_gap=18)
        _shade_phases(axes, epochs, phases)
        there = np.isfinite(numbers)
        few = there.sum() <= 40
        axes.plot(
            epochs[there],
            numbers[there],
            color=GREEN if is_gmap else BLUE,
            linewidth=1.8,
            marker="o" if few else None,
            markersize=3.5 if there.sum() > 1 else 7,
        )
        if is_gmap:
            _mark_best(axes, epochs, numbers)
            axes.set_ylim(bottom=0, top=float(np.nanmax(numbers)) * 1.25 or 1.0)
        for one in selection.compared if selection is not None else ():
            if one.figure == name:
                _mark_start(axes, one.start)
        axes.xaxis.set_major_locator(
            FixedLocator([float(epochs[0])]) if len(rows) == 1 else MaxNLocator(integer=True, nbins=6)
        )
    save(figure, path)


def _remark(phases: Sequence[str]) -> str:
    """The phases in words: "warmup (10 epochs), then round-1 (5 epochs)"."""
    runs = [(name, len(list(run))) for name, run in groupby(phases)]
    return ", then ".join(
        f"{name or 'training'} ({count} epoch{'s' if count > 1 else ''})" for name, count in runs
    )


def _shade_phases(axes: Axes, epochs: np.ndarray, phases: Sequence[str]) -> None:
    """Every other phase on a shade, a line where it begins, its name on top where there is room."""
    edges = np.concatenate([[epochs[0] - 0.5], (epochs[1:] + epochs[:-1]) / 2, [epochs[-1] + 0.5]])
    axes.set_xlim(edges[0], edges[-1])
    start = 0
    for index, (name, run) in enumerate(groupby(phases)):
        stop = start + len(list(run))
        if index % 2:
            axes.axvspan(edges[start], edges[stop], color=SHADE, zorder=0)
        if index:
            axes.axvline(edges[start], color=PALE, linewidth=1, zorder=1)
        share = (edges[stop] - edges[start]) / (edges[-1] - edges[0])
        if len(name) * 0.022 < share:
            middle = (edges[start] + edges[stop]) / 2
            axes.text(
                middle,
                1.0,
                name,
                transform=axes.get_xaxis_transform(),
                ha="center",
                va="bottom",
                fontsize=8,
                color=GREY,
            )
        start = stop


def _mark_start(axes: Axes, value: float) -> None:
    """A line at what the start of the training has."""
    axes.axhline(value, color=GREY, linewidth=1.2, linestyle="--", zorder=1)
    axes.annotate(
        f"start: {value:.3f}",
        (0, value),
        xycoords=axes.get_yaxis_transform(),
        xytext=(4, -3),
        textcoords="offset points",
        va="top",
        fontsize=8.5,
        color=GREY,
    )
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, value), max(high, value * 1.1))


def _mark_best(axes: Axes, epochs: np.ndarray, numbers: np.ndarray) -> None:
    """A ring around the best epoch, and its value."""
    best = int(np.nanargmax(numbers))
    axes.plot(
        [epochs[best]],
        [numbers[best]],
        "o",
        markersize=10,
        fillstyle="none",
        color=GREEN,
        markeredgewidth=1.6,
    )
    if np.isfinite(numbers).sum() == 1:
        text = f"{numbers[best]:.3f}"
    else:
        text = f"best: {numbers[best]:.3f} at epoch {epochs[best]:g}"
    left = epochs[best] < (epochs[0] + epochs[-1]) / 2
    axes.annotate(
        text,
        (epochs[best], numbers[best]),
        xytext=(4 if left else -4, 9),
        textcoords="offset points",
        ha="left" if left else "right",
        va="bottom",
        fontsize=8.5,
        color=GREEN,
    )
