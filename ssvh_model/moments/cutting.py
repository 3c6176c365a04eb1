"""How the films of an index are cut, and how a query's frames are taken to cut it alike."""

from __future__ import annotations

from typing import Literal

from ssvh_model.moments.shots import SHORTEST, STEP, Shots

# Evenly, into segments of so many seconds, or into shots.
Cutting = float | Literal["shots"]


def query_grid(cutting: Cutting, frames: int, seconds: float) -> tuple[float, float | None] | None:
    """The grid of a query that is cut as films are.

    Args:
        cutting: of the films.
        frames: M.
        seconds: of the query.

    Returns:
        `step` and `cuts_from` of its `GridFrames`; None if it is too short to be cut.
    """
    if cutting == "shots":
        return (STEP, Shots().threshold) if seconds >= SHORTEST else None
    return (cutting / frames, None) if seconds > cutting else None
