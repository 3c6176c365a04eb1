"""The cluster schedule as six numbers, so that it can be searched like any other parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.params.sections import Round

NUMBER = "number"
CLUSTERS = "clusters"
GROWTH = "growth"
GRANULARITIES = "granularities"
EPOCHS = "epochs"
REFRESH_EVERY = "refresh_every"

LEAST: dict[str, float] = {
    NUMBER: 1,
    CLUSTERS: 2,
    GROWTH: 1.0,
    GRANULARITIES: 1,
    EPOCHS: 1,
    REFRESH_EVERY: 1,
}
"""The six numbers, and the least that each may be. All but the growth are whole."""


def make_rounds(values: Mapping[str, float], most: int) -> dict[str, Any]:
    """The section `rounds` of params.yaml for some values of the six numbers.

    Args:
        values: `number` of rounds; `clusters`, the smallest count of the first; `growth` of the counts from
            round to round; `granularities`, counts in a round, each twice the one before; `epochs` of all
            rounds together; `refresh_every`.
        most: larger counts become this one.
    """
    number, epochs = int(values[NUMBER]), int(values[EPOCHS])
    return {
        str(round_ + 1): {
            "after": "warmup" if round_ == 0 else f"round-{round_}",
            "clusters": _counts(values, round_, most),
            "epochs": epochs // number + (round_ < epochs % number),
            "refresh_every": int(values[REFRESH_EVERY]),
        }
        for round_ in range(number)
    }


def _counts(values: Mapping[str, float], round_: int, most: int) -> list[int]:
    smallest = round(values[CLUSTERS] * values[GROWTH] ** round_)
    return sorted({min(smallest * 2**step, most) for step in range(int(values[GRANULARITIES]))})


def describe_rounds(rounds: Mapping[str, Round]) -> dict[str, float]:
    """The six numbers whose rounds are most like these; there must be a round."""
    listed = list(rounds.values())
    first, last = listed[0], listed[-1]
    growth = (min(last.clusters) / min(first.clusters)) ** (1 / (len(listed) - 1)) if len(listed) > 1 else 1.0
    return {
        NUMBER: len(listed),
        CLUSTERS: min(first.clusters),
        GROWTH: float(f"{growth:.3g}"),
        GRANULARITIES: len(first.clusters),
        EPOCHS: sum(one.epochs for one in listed),
        REFRESH_EVERY: first.refresh_every,
    }
