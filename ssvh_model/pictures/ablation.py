"""The ablation as bars: GMAP of every variant with its spread, the full method as the line to compare
with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ssvh_model.pictures.style import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    SKY,
    dress,
    heading,
    new_figure,
    save,
)


def draw_ablation(
    path: Path,
    gmaps: Mapping[str, Sequence[float]],
    *,
    full: str,
    remark: str,
    yardsticks: Mapping[str, float | None],
) -> None:
    """One bar a variant, in the given order from the top; the bar is the mean, the error bar one standard
    deviation, the dots the seeds.

    Args:
        path: the PNG to write.
        gmaps: variant -> GMAP of each seed.
        full: the variant that the others are compared with.
        remark: what the figures are of.
        yardsticks: name -> GMAP, drawn as lines; None for one that could not be measured.
    """
    figure = new_figure(9.5, 1.7 + 0.42 * len(gmaps))
    heading(figure, "What each part of the method adds", remark)
    axes = figure.add_subplot()
    dress(axes, x="GMAP, mean over seeds and one standard deviation")
    axes.grid(axis="x", color="#D9D9D9", linewidth=0.6, alpha=0.7)
    axes.grid(axis="y", visible=False)
    rows = np.arange(len(gmaps))
    means = [float(np.mean(values)) for values in gmaps.values()]
    spreads = [float(np.std(values, ddof=1)) if len(values) > 1 else 0.0 for values in gmaps.values()]
    colours = [BLUE if name == full else SKY for name in gmaps]
    axes.barh(rows, means, xerr=spreads, color=colours, height=0.62, ecolor=INK, capsize=3)
    for row, values in zip(rows, gmaps.values(), strict=True):
        axes.plot(values, [row] * len(values), "o", color=INK, markersize=3, alpha=0.6)
    axes.axvline(means[list(gmaps).index(full)], color=BLUE, linewidth=1, linestyle=(0, (4, 3)))
    for (name, value), colour in zip(yardsticks.items(), (GREY, ORANGE), strict=False):
        if value is not None:
            axes.axvline(value, color=colour, linewidth=1.4, linestyle=":", label=f"{name} {value:.3f}")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            frameon=False, fontsize=9, labelcolor=GREY, loc="lower right", bbox_to_anchor=(1, 1), ncols=2
        )
    axes.set_yticks(rows, list(gmaps))
    axes.invert_yaxis()
    save(figure, path)
