"""Bit balance and bit correlation, side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator

from ssvh_model.pictures.style import BLUE, GREY, INK, PALE, VERMILLION, dress, heading, new_figure, save
from ssvh_model.retrieval.bits import BitStatistics


def draw_bits(path: Path, statistics: BitStatistics, *, n_codes: int) -> None:
    """Left: the mean of each bit, constant bits in another colour. Right: the correlation of each pair of
    bits.

    Args:
        path: the PNG to write.
        statistics: of the codes.
        n_codes: how many codes they are of.
    """
    bits = len(statistics.balance)
    figure = new_figure(11.5, 4.9)
    heading(
        figure,
        f"How the {bits} bits are used",
        f"{statistics.distinct_codes:,} different codes among {n_codes:,} videos; "
        f"{len(statistics.constant_bits)} constant bits, {len(statistics.duplicate_bits)} pairs that say the same",
    )
    left, right = figure.subplots(1, 2, width_ratios=[1.35, 1])
    dress(left, title="Balance: the mean of each bit (0 splits the videos in halves)", x="bit", y="mean")
    colours = [VERMILLION if bit in statistics.constant_bits else BLUE for bit in range(bits)]
    left.bar(np.arange(bits), statistics.balance, color=colours, width=0.75)
    left.axhline(0, color=INK, linewidth=0.8)
    left.set_ylim(-1.05, 1.05)
    left.set_xlim(-0.8, bits - 0.2)
    if statistics.constant_bits:
        left.bar([0], [0], color=VERMILLION, label="constant bit")
        left.legend(frameon=False, fontsize=9, labelcolor=GREY)

    dress(right, title="Correlation of each pair of bits (white is best)", x="bit", y="bit")
    right.grid(False)
    # The diagonal is 1 whatever the codes are, and would be all that one sees.
    shown = np.where(np.eye(bits, dtype=bool), np.nan, statistics.correlation)
    image = right.imshow(shown, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    right.set_facecolor(PALE)
    bar = figure.colorbar(image, ax=right, shrink=0.85, ticks=[-1, -0.5, 0, 0.5, 1])
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=GREY, labelsize=9, length=3)
    for axis in (left.xaxis, right.xaxis, right.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    save(figure, path)
