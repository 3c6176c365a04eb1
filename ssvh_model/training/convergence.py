"""How soon a training run is as good as it has to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reached:
    """When a run first came to a level.

    Attributes:
        epochs: from the first one of the warm-up; None if it never did.
        seconds: of training until then; None if it never did.
    """

    epochs: int | None
    seconds: float | None


def best(history: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """The greatest value of a figure over a history; None if it was never measured."""
    return max((float(row[name]) for row in history if row.get(name) is not None), default=None)


def reach(history: Sequence[Mapping[str, Any]], name: str, level: float) -> Reached:
    """The first epoch at which a figure is at `level` or above; between two measurements nothing is known.

    Args:
        history: one row an epoch, in order, with "epoch", "seconds" and the figures that were measured.
        name: of the figure, such as "validation_gmap".
        level: to come to.
    """
    seconds = 0.0
    for row in history:
        seconds += float(row["seconds"])
        if row.get(name) is not None and row[name] >= level:
            return Reached(int(row["epoch"]), seconds)
    return Reached(None, None)
