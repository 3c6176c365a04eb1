"""From which score on a pair counts as duplicates, from pairs that people have decided about."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ssvh_model.errors import UserError

PRECISION = 0.95  # share of the pairs at and above the threshold that are to be duplicates
FEWEST = 10  # decided pairs of either kind; fewer say little


@dataclass(frozen=True)
class Threshold:
    """A score that decided pairs speak for.

    Attributes:
        least: the score, 0 to 1.
        above: decided pairs that have it or more.
        right: of these, duplicates.
        missed: duplicates below it.
    """

    least: float
    above: int
    right: int
    missed: int


def least_score(scores: np.ndarray, duplicate: np.ndarray, *, precision: float = PRECISION) -> Threshold:
    """The smallest score from which on enough of the decided pairs are duplicates.

    Args:
        scores: of the pairs, [n] float, 0 to 1.
        duplicate: whether they were called duplicates, [n] bool.
        precision: share of the pairs at and above the threshold that must be.

    Returns:
        The threshold, halfway to the next smaller score.

    Raises:
        UserError: too few pairs were decided, or the scores don't tell duplicates from others.
    """
    kinds = {"duplicates": int(duplicate.sum()), "no duplicates": int((~duplicate).sum())}
    if min(kinds.values()) < FEWEST:
        counts = " and ".join(f"{count} were called {kind}" for kind, count in kinds.items())
        raise UserError(f"a threshold needs {FEWEST} decided pairs of either kind; {counts}")
    order = np.argsort(-scores, kind="stable")
    ranked, right = scores[order], np.cumsum(duplicate[order])
    # Pairs of one score are on the same side of any threshold.
    ends = np.append(ranked[1:] < ranked[:-1], True)
    enough = ends & (right >= precision * np.arange(1, len(ranked) + 1))
    if not enough.any():
        raise UserError(
            f"no score tells the decided duplicates from the others: nowhere are {precision:.0%} of the pairs above it duplicates"
        )
    last = int(np.flatnonzero(enough)[-1])
    below = ranked[last + 1] if last + 1 < len(ranked) else 0.0
    return Threshold(
        least=float((ranked[last] + below) / 2),
        above=last + 1,
        right=int(right[last]),
        missed=int(right[-1] - right[last]),
    )
