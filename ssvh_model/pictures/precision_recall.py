"""Precision and recall of looking up all codes within a Hamming radius."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from ssvh_model.pictures.style import (
    BLUE,
    DASHES,
    GREY,
    INK,
    MARKERS,
    NAMES,
    SERIES,
    dress,
    heading,
    new_figure,
    save,
)
from ssvh_model.retrieval.precision_recall import PrecisionRecall


def draw_precision_recall(path: Path, curves: Mapping[str, PrecisionRecall], *, bits: int) -> None:
    """Left: precision over recall, some radii named. Right: what a radius finds, and how many queries find
    anything.

    Args:
        path: the PNG to write.
        curves: by name, "hasher" and "itq"; the right panel shows the first.
        bits: K of the codes, for the title.
    """
    figure = new_figure(10.4, 4.5)
    heading(
        figure,
        f"Looking up all codes within a Hamming radius, {bits} bits",
        "mean over queries; precision over those that find at least one video",
    )
    left, right = figure.subplots(1, 2)
    dress(left, title="Precision over recall", x="recall", y="precision")
    for index, (name, curve) in enumerate(curves.items()):
        colour = SERIES.get(name, BLUE)
        there = np.isfinite(curve.precision) & np.isfinite(curve.recall)
        left.plot(
            curve.recall[there],
            curve.precision[there],
            color=colour,
            linestyle=DASHES.get(name, "-"),
            marker=MARKERS.get(name, "o"),
            markersize=3.5,
            linewidth=2,
            label=NAMES.get(name, name),
        )
        if index == 0:
            _name_radii(left, curve, there)
    left.set_xlim(-0.02, 1.02)
    left.set_ylim(0, 1.05)
    left.legend(frameon=False, fontsize=9, labelcolor=GREY)

    first, curve = next(iter(curves.items()))
    dress(right, title=f"By radius: {NAMES.get(first, first)}", x="Hamming radius", y="share")
    for values, label, dash, colour in (
        (curve.precision, "precision", "-", BLUE),
        (curve.recall, "recall", (0, (5, 2)), INK),
        (curve.answered, "queries that find anything", (0, (1.5, 1.5)), GREY),
    ):
        right.plot(curve.radius, values, color=colour, linestyle=dash, linewidth=1.9, label=label)
    right.set_ylim(0, 1.05)
    right.set_xlim(0, curve.radius[-1])
    right.legend(frameon=False, fontsize=9, labelcolor=GREY)
    save(figure, path)


def _name_radii(axes: Axes, curve: PrecisionRecall, there: np.ndarray) -> None:
    """Write the radius at a few points that lie well apart."""
    last = (-1.0, -1.0)
    for radius in np.flatnonzero(there):
        at = (float(curve.recall[radius]), float(curve.precision[radius]))
        if max(abs(at[0] - last[0]), abs(at[1] - last[1])) > 0.12:
            axes.annotate(
                f"r = {radius}", at, xytext=(5, 5), textcoords="offset points", fontsize=8, color=BLUE
            )
            last = at
