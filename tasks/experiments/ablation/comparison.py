"""What the ablation finds: every variant beside the full method and beside the paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ssvh_model.retrieval.bootstrap import PairedDifference, paired_difference
from ssvh_model.training.convergence import Reached, best, reach
from ssvh_model.training.figures import VALIDATION_GMAP
from tasks.experiments.ablation.variants import FULL, PAPER_CONVERGENCE, Variant
from tasks.experiments.one_training import TrainingResult
from tasks.params.sections import Params


@dataclass(frozen=True)
class Row:
    """A variant beside the full method.

    Attributes:
        variant: what it is.
        gmaps: of each seed.
        difference: to the full method; None for that itself and where a variant changes nothing.
    """

    variant: Variant
    gmaps: tuple[float, ...]
    difference: PairedDifference | None

    @property
    def verdict(self) -> str:
        """Whether what the paper says of it is found again, in a few words; for the others, whether there is
        a difference.
        """
        found = self.difference
        if found is None:
            return "" if self.variant.name == FULL else "nothing to compare: it is so in params.yaml"
        low, high = found.low, found.high
        if self.variant.paper is None:
            return "better than full" if low > 0 else "worse than full" if high < 0 else "no difference seen"
        if high < 0:
            return "yes"
        return "no: better without it" if low > 0 else "no: no difference seen"


@dataclass(frozen=True)
class Convergence:
    """How soon a seed's trainings come to the full method's level.

    Attributes:
        seed: of both.
        level: validation GMAP to come to.
        full, without: when they did, with and without clusters.
        epochs: that `without` was trained at most.
    """

    seed: int
    level: float
    full: Reached
    without: Reached
    epochs: int

    @property
    def saved(self) -> float:
        """Share of the epochs that the full method needs less; the least that it can be where `without` never
        came there.
        """
        assert self.full.epochs is not None, "its level is below its best"
        return 1 - self.full.epochs / (self.without.epochs or self.epochs)

    @property
    def sooner(self) -> bool:
        """Whether the full method was there first."""
        return self.without.epochs is None or self.saved > 0


@dataclass(frozen=True)
class AblationResult:
    """All that is found.

    Attributes:
        rows: the full method first.
        convergence: one entry a seed; empty where there is no variant without clusters or nothing to watch it
            by.
        seeds: of every variant.
        yardsticks: GMAP of `float` and `itq` on the same queries, mean over seeds; None where it can't be
            measured.
    """

    rows: tuple[Row, ...]
    convergence: tuple[Convergence, ...]
    seeds: tuple[int, ...]
    yardsticks: Mapping[str, float | None]

    @property
    def convergence_verdict(self) -> str:
        """Whether the paper's figure for the convergence is found again, in words."""
        if not self.convergence:
            return "not measured: it needs validation videos with labels and a variant with losses.beta 0"
        saved = [one.saved for one in self.convergence]
        never = any(one.without.epochs is None for one in self.convergence)
        found = (
            f"{'at least ' if never else ''}{100 * float(np.mean(saved)):.0f} % of the epochs saved on average "
            f"({100 * min(saved):.0f} to {100 * max(saved):.0f} over {len(saved)} seeds); the paper says {PAPER_CONVERGENCE:.0f} %"
        )
        if len(saved) == 1:
            return f"one seed decides nothing: {found}"
        if all(one.sooner for one in self.convergence):
            return f"yes, sooner in every seed: {found}"
        return f"no, not sooner in every seed: {found}"


def summarise(
    found: Sequence[tuple[Variant, Sequence[TrainingResult]]], seeds: Sequence[int], params: Params
) -> AblationResult:
    """Compare every variant's results, one a seed, with the full method's, which come first."""
    settings = params.ablation
    full = found[0][1]
    rows = []
    for variant, results in found:
        difference = None
        if not variant.is_full:
            difference = paired_difference(
                np.stack([result.average_precision for result in results]),
                np.stack([result.average_precision for result in full]),
                resamples=settings.resamples,
                confidence=settings.confidence,
                seed=params.seed,
            )
        rows.append(Row(variant, tuple(result.gmap for result in results), difference))
    without = next((results for variant, results in found if _without_clusters(variant, params)), None)
    return AblationResult(
        tuple(rows),
        _convergence(full, without or (), seeds, settings.converged),
        tuple(seeds),
        {name: _mean([result.record["yardsticks"][name] for result in full]) for name in ("float", "itq")},
    )


def _without_clusters(variant: Variant, params: Params) -> bool:
    return not variant.is_full and params.losses.beta > 0 and variant.params.losses.beta == 0


def _convergence(
    full: Sequence[TrainingResult], without: Sequence[TrainingResult], seeds: Sequence[int], share: float
) -> tuple[Convergence, ...]:
    found = []
    for seed, one, other in zip(seeds, full, without, strict=False):
        history, history_without = one.record["history"], other.record["history"]
        top = best(history, VALIDATION_GMAP)
        if top is None:
            continue
        level = share * top
        reached = [reach(rows, VALIDATION_GMAP, level) for rows in (history, history_without)]
        found.append(Convergence(seed, level, reached[0], reached[1], len(history_without)))
    return tuple(found)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def record(ablation: AblationResult) -> dict[str, Any]:
    """As plain JSON."""
    return {
        "seeds": list(ablation.seeds),
        "yardsticks": dict(ablation.yardsticks),
        "variants": {
            row.variant.name: {
                "gmap_mean": float(np.mean(row.gmaps)),
                "gmap_std": float(np.std(row.gmaps, ddof=1)) if len(row.gmaps) > 1 else None,
                "gmap": list(row.gmaps),
                "to_full": row.difference.record() if row.difference else None,
                "paper_per_cent": None if row.variant.paper is None else -row.variant.paper,
                "verdict": row.verdict,
            }
            for row in ablation.rows
        },
        "convergence": {
            "paper_per_cent": PAPER_CONVERGENCE,
            "verdict": ablation.convergence_verdict,
            "seeds": [
                {
                    "seed": one.seed,
                    "level": one.level,
                    "epochs_full": one.full.epochs,
                    "epochs_without_clusters": one.without.epochs,
                    "seconds_full": one.full.seconds,
                    "seconds_without_clusters": one.without.seconds,
                    "epochs_trained": one.epochs,
                    "saved": one.saved,
                }
                for one in ablation.convergence
            ],
        },
    }
