"""One look for every picture: colours that colour-blind readers tell apart, quiet axes, plain fonts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ssvh_model.files import atomic_path

# Okabe and Ito's palette, as far as it reads on white.
BLUE = "#0072B2"
ORANGE = "#E69F00"
GREEN = "#009E73"
VERMILLION = "#D55E00"
PURPLE = "#CC79A7"
SKY = "#56B4E9"
INK = "#222222"
GREY = "#6B6B6B"
PALE = "#D9D9D9"
SHADE = "#F1F4F7"

SERIES = {"hasher": BLUE, "float": GREY, "itq": ORANGE}
NAMES = {"hasher": "hasher", "float": "float features (no codes)", "itq": "ITQ (no training of a network)"}
DASHES = {"hasher": "-", "float": (0, (5, 2)), "itq": (0, (1.5, 1.5))}
MARKERS = {"hasher": "o", "float": "s", "itq": "^"}

DOTS_PER_INCH = 110


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches, apart from pyplot's global state."""
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1, wspace=0.04, hspace=0.06)
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    return figure


def heading(figure: Figure, title: str, remark: str = "") -> None:
    """A title at the left, and a remark in grey below it."""
    figure.suptitle(
        title + ("\n" if remark else ""),
        x=0.012,
        ha="left",
        fontsize=13,
        fontweight="bold",
        color=INK,
        linespacing=1.5,
    )
    if remark:
        inches = figure.get_size_inches()[1]
        figure.text(0.012, 1 - 0.42 / inches, remark, ha="left", va="top", fontsize=9.5, color=GREY)


def dress(axes: Axes, *, title: str = "", x: str = "", y: str = "", title_gap: float = 8) -> None:
    """Take away what is not data, and name what is."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(PALE)
    axes.tick_params(colors=GREY, labelsize=9, length=3)
    axes.grid(axis="y", color=PALE, linewidth=0.6, alpha=0.7)
    axes.set_axisbelow(True)
    if title:
        axes.set_title(title, loc="left", fontsize=10.5, color=INK, pad=title_gap)
    axes.set_xlabel(x, fontsize=9.5, color=GREY)
    axes.set_ylabel(y, fontsize=9.5, color=GREY)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, atomically; the same figure gives the same bytes."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def finite_or_gap(values: list[object]) -> np.ndarray:
    """Numbers as float64, and not-a-number, which is drawn as a gap, for everything else."""
    numbers = [float(v) if isinstance(v, int | float | np.number) else np.nan for v in values]
    array = np.array(numbers, dtype=np.float64)
    array[~np.isfinite(array)] = np.nan
    return array
