"""An experiment before it runs: its trainings, its folder, and what it is recorded under."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssvh_model.errors import UserError
from tasks import paths
from tasks.experiments.one_training import FeatureCorpus, Measure, OneTraining, TrainingResult, load_result
from tasks.params.sections import Params


@dataclass(frozen=True)
class Plan:
    """What is to be trained.

    Attributes:
        kind: "ablation" or "sensitivity".
        params: what every training has in common.
        corpus: of all trainings.
        measure: of all trainings.
        seeds: of every variant.
        variants: name -> parameters, in the order of the table.
    """

    kind: str
    params: Params
    corpus: FeatureCorpus
    measure: Measure
    seeds: tuple[int, ...]
    variants: dict[str, Params]

    def trainings(self) -> list[OneTraining]:
        """All trainings, each once; a variant's seeds stand together, so that parallel ones do not wait for
        the same first phase.
        """
        found: dict[str, OneTraining] = {}
        for name in self.variants:
            for training in self.of(name):
                found.setdefault(training.key, training)
        return list(found.values())

    def of(self, name: str) -> list[OneTraining]:
        """A variant's trainings, one a seed."""
        params = self.variants[name]
        return [
            OneTraining(name, params.model_copy(update={"seed": seed}), self.corpus, self.measure)
            for seed in self.seeds
        ]

    def results(self, name: str) -> list[TrainingResult]:
        """A variant's results, one a seed; all its trainings must be finished."""
        found = [load_result(training) for training in self.of(name)]
        return [result for result in found if result is not None]

    @property
    def folder(self) -> Path:
        """Where the experiment with just these settings, features and code is kept."""
        kept = sorted((training.label, training.key, training.result.name) for training in self.trainings())
        key = hashlib.sha256(json.dumps([self.kind, kept]).encode()).hexdigest()[:16]
        return paths.RESULTS / self.kind / key

    @property
    def heading(self) -> str:
        """What the figures are of, in a line."""
        where = {
            "validation": "validation videos search the training videos",
            "query": "query videos, which nothing was chosen by, search the database",
        }[self.measure]
        held = " (held out of the training videos)" if self.corpus.held_out is not None else ""
        return f"{self.corpus.name}, {self.params.model.bits} bits, seeds {', '.join(map(str, self.seeds))}; GMAP of {self.measure}: {where}{held}"

    @property
    def remark(self) -> str:
        """The same in short, for pictures."""
        return f"{self.corpus.name}, {self.params.model.bits} bits, {len(self.seeds)} seeds, {self.measure} videos"

    def parameters(self) -> dict[str, Any]:
        """What MLflow shows of the whole."""
        return {
            "features": self.corpus.name,
            "measure": self.measure,
            "seeds": list(self.seeds),
            "variants": len(self.variants),
            **self.of(next(iter(self.variants)))[0].parameters,
        }


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds as a person writes them: "1,2,3" -> (1, 2, 3).

    Raises:
        UserError: anything else.
    """
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UserError(
            f"--seeds {text}: allowed are whole numbers from 0 with commas, such as 1,2,3"
        ) from None
    if len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise UserError(f"--seeds {text}: allowed are whole numbers from 0, each once")
    return seeds


def check_cluster_counts(plan: Plan, training_videos: int) -> None:
    """Make sure that no training would end for want of videos.

    Raises:
        UserError: a variant has more clusters than there are training videos.
    """
    for name, params in plan.variants.items():
        most = max((count for one in params.rounds.values() for count in one.clusters), default=0)
        if most > training_videos:
            raise UserError(
                f"{paths.PARAMS}: rounds of {name} have {most} clusters; allowed are 2 to {training_videos}, the training videos of {plan.corpus.name}"
            )
