"""Precision and recall of looking up every code within a Hamming radius."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ssvh_model.retrieval.tie_groups import TieGroups


@dataclass(frozen=True)
class PrecisionRecall:
    """One value a Hamming radius 0 .. K, each [K + 1].

    Attributes:
        radius: the radius, int64.
        precision: mean share of relevant videos among those found, over the queries that find any; not a
            number where none does.
        recall: mean share of the relevant videos that are found, over the queries that have any.
        answered: share of queries that find at least one video. A high precision at a radius that few queries
            answer says little.
    """

    radius: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    answered: np.ndarray

    def rows(self) -> list[dict[str, float | int | None]]:
        """One plain dict a radius, for JSON and plots; None where a value is not a number."""
        return [
            {
                "radius": int(radius),
                "precision": None if np.isnan(precision) else float(precision),
                "recall": None if np.isnan(recall) else float(recall),
                "answered": float(answered),
            }
            for radius, precision, recall, answered in zip(
                self.radius, self.precision, self.recall, self.answered, strict=True
            )
        ]


def precision_recall(groups: TieGroups) -> PrecisionRecall:
    """The curve of rankings grouped by Hamming distance (`DistanceCounts`), averaged over queries."""
    found = groups.items.cumsum(axis=1)
    hits = groups.relevant.cumsum(axis=1)
    answered = found > 0
    has_relevant = groups.total_relevant > 0
    with np.errstate(invalid="ignore"):
        precision = (hits / np.maximum(found, 1)).sum(axis=0) / answered.sum(axis=0)
        recall = (hits / np.maximum(groups.total_relevant, 1)[:, None]).sum(axis=0) / has_relevant.sum()
    return PrecisionRecall(np.arange(found.shape[1]), precision, recall, answered.mean(axis=0))
