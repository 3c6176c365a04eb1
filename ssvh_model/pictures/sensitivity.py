"""How GMAP depends on one parameter, as a line with its spread, and on two, as a heat map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ssvh_model.pictures.style import BLUE, GREEN, GREY, INK, dress, heading, new_figure, save


def draw_line(
    path: Path, key: str, gmaps: Mapping[float, Sequence[float]], *, present: float, remark: str
) -> None:
    """Mean over seeds, a band of one standard deviation, a dot for every training.

    Args:
        path: the PNG to write.
        key: of the parameter, for the axis.
        gmaps: value -> GMAP of each seed.
        present: the value in use, marked.
        remark: what the figures are of.
    """
    figure = new_figure(7.2, 4.4)
    heading(figure, f"Sensitivity to {key}", remark)
    axes = figure.add_subplot()
    dress(axes, x=key, y="GMAP")
    values = sorted(gmaps)
    means = np.array([np.mean(gmaps[value]) for value in values])
    spread = np.array([np.std(gmaps[value], ddof=1) if len(gmaps[value]) > 1 else 0.0 for value in values])
    # Evenly spaced: what is tried spans magnitudes, and may hold 0.
    at = np.arange(len(values))
    axes.fill_between(at, means - spread, means + spread, color=BLUE, alpha=0.15, linewidth=0)
    axes.plot(at, means, color=BLUE, linewidth=1.8, marker="o", markersize=4)
    for place, value in zip(at, values, strict=True):
        axes.plot([place] * len(gmaps[value]), gmaps[value], "o", color=GREY, markersize=3, alpha=0.7)
    axes.axvline(
        values.index(present), color=GREEN, linewidth=1.2, linestyle=(0, (4, 3)), label="in params.yaml"
    )
    axes.legend(frameon=False, fontsize=9, labelcolor=GREY)
    axes.set_xticks(at, [f"{value:g}" for value in values])
    save(figure, path)


def draw_grid(
    path: Path,
    first: str,
    second: str,
    gmaps: Mapping[tuple[float, float], Sequence[float]],
    *,
    remark: str,
) -> None:
    """Mean over seeds as colour and number, one standard deviation below it.

    Args:
        path: the PNG to write.
        first, second: keys of the parameters; rows and columns.
        gmaps: (value of the first, value of the second) -> GMAP of each seed; all pairs.
        remark: what the figures are of.
    """
    rows = sorted({pair[0] for pair in gmaps})
    columns = sorted({pair[1] for pair in gmaps})
    means = np.array([[np.mean(gmaps[row, column]) for column in columns] for row in rows])
    figure = new_figure(max(6.5, 2.4 + 1.2 * len(columns)), 2.2 + 0.75 * len(rows))
    heading(figure, f"{first} and {second}", remark)
    axes = figure.add_subplot()
    dress(axes, x=second, y=first)
    axes.grid(False)
    image = axes.imshow(means, cmap="Blues", aspect="auto")
    middle = (means.min() + means.max()) / 2
    for row, value in enumerate(rows):
        for column, other in enumerate(columns):
            seeds = gmaps[value, other]
            text = f"{means[row, column]:.4f}"
            if len(seeds) > 1:
                text += f"\n± {np.std(seeds, ddof=1):.4f}"
            colour = "white" if means[row, column] > middle else INK
            axes.text(column, row, text, ha="center", va="center", fontsize=9, color=colour)
    axes.set_xticks(range(len(columns)), [f"{value:g}" for value in columns])
    axes.set_yticks(range(len(rows)), [f"{value:g}" for value in rows])
    bar = figure.colorbar(image, ax=axes)
    bar.outline.set_visible(False)
    bar.set_label("GMAP", fontsize=9.5, color=GREY)
    save(figure, path)
