"""MAP@K of the hasher beside its yardsticks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ssvh_model.pictures.style import (
    BLUE,
    DASHES,
    GREY,
    MARKERS,
    NAMES,
    SERIES,
    dress,
    heading,
    new_figure,
    save,
)
from ssvh_model.retrieval.evaluation import Retrieval


def draw_map_at_k(path: Path, results: Mapping[str, Retrieval], *, bits: int) -> None:
    """MAP@K over K, one line a retriever, with GMAP in the legend.

    Args:
        path: the PNG to write.
        results: by name; "hasher", "float" and "itq" have a colour of their own.
        bits: K of the codes, for the title.
    """
    figure = new_figure(7.2, 4.6)
    heading(
        figure,
        f"Finding videos of the same label, {bits} bits",
        "MAP@K: sum of the precisions at the hits among K, divided by K",
    )
    axes = figure.add_subplot()
    dress(axes, x="K, the length of the list", y="MAP@K")
    for name, result in results.items():
        ks = list(result.map_at_k)
        axes.plot(
            ks,
            list(result.map_at_k.values()),
            color=SERIES.get(name, BLUE),
            linestyle=DASHES.get(name, "-"),
            marker=MARKERS.get(name, "o"),
            markersize=5,
            linewidth=2.4 if name == "hasher" else 1.7,
            zorder=3 if name == "hasher" else 2,
            label=f"{NAMES.get(name, name)}: GMAP {result.gmap:.3f}",
        )
        axes.set_xticks(ks)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=9.5, labelcolor=GREY, handlelength=3.2)
    save(figure, path)
