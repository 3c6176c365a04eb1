"""One training of an experiment: what it is, the key under which it is found again, and its result.

A training is known by what it depends on and not by its name, so that experiments share what they have in
common, and a killed one finds what it had finished. Work in progress is in `.work/experiments/<key>/`,
results are in `results/trainings/<key>/`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ssvh_model.files import atomic_path
from tasks import paths
from tasks.params.sections import Params
from tasks.pipeline.trained_by import WARMUP, WHOLE_TRAINING, TrainedBy, trained_by

Measure = Literal["validation", "query"]

WORK = paths.WORK / "experiments"
RESULTS = paths.RESULTS / "trainings"


@dataclass(frozen=True)
class FeatureCorpus:
    """The videos of an experiment.

    Attributes:
        name: of the file as the user gave it.
        path: of a feature file of our form.
        digest: of its content and of who is a validation video.
        held_out: seed by which validation videos were taken from the training videos; None if the file has
            its own or needs none.
    """

    name: str
    path: Path
    digest: str
    held_out: int | None


@dataclass(frozen=True)
class OneTraining:
    """A variant with one seed.

    Attributes:
        name: of the variant.
        params: with the variant's changes and its seed.
        corpus: what it is trained on.
        measure: the split whose videos are the queries of its result.
    """

    name: str
    params: Params
    corpus: FeatureCorpus
    measure: Measure

    @property
    def label(self) -> str:
        """For a person: "full, seed 1"."""
        return f"{self.name}, seed {self.params.seed}"

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """The parameters that it depends on, by dotted key."""
        return trained_by(*WHOLE_TRAINING).values(self._values)

    @cached_property
    def key(self) -> str:
        """16 hex digits that change with the parameters, the features and the code."""
        return self._key(trained_by(*WHOLE_TRAINING))

    @cached_property
    def warmup_key(self) -> str:
        """The same of all that the first phase depends on: variants that change nothing of it share it."""
        return "warmup-" + self._key(trained_by(*WARMUP))

    @cached_property
    def _values(self) -> dict[str, Any]:
        return self.params.model_dump(by_alias=True, mode="json")

    def _key(self, by: TrainedBy) -> str:
        text = json.dumps([by.values(self._values), self.corpus.digest, by.code_digest()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def work(self) -> Path:
        """The folder of its work in progress."""
        return WORK / self.key

    @property
    def warmup_work(self) -> Path:
        """The folder of its first phase."""
        return WORK / self.warmup_key

    @property
    def result(self) -> Path:
        """The file of its result."""
        searched = hashlib.sha256(
            self.params.evaluate.model_dump_json(include={"query", "database", "exclude_self"}).encode()
        )
        name = self.measure if self.measure == "validation" else f"query-{searched.hexdigest()[:8]}"
        return RESULTS / self.key / f"{name}.json"


@dataclass(frozen=True)
class TrainingResult:
    """What came out of a training.

    Attributes:
        record: plain JSON: `gmap`, `map_at_k`, `yardsticks`, `n_query`, `seconds`, `history` (one row an
            epoch, with its seconds), ...
        average_precision: of each query, as in `Retrieval`.
    """

    record: dict[str, Any]
    average_precision: np.ndarray

    @property
    def gmap(self) -> float:
        """On the queries."""
        return float(self.record["gmap"])


def save_result(training: OneTraining, result: TrainingResult) -> None:
    """Keep a result; the JSON file is written last, so that it stands for the whole."""
    path = training.result
    with atomic_path(path.with_suffix(".npy")) as temporary:
        np.save(temporary, result.average_precision)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(result.record) + "\n")


def load_result(training: OneTraining) -> TrainingResult | None:
    """The kept result; None if there is none yet."""
    path = training.result
    if not path.is_file():
        return None
    return TrainingResult(json.loads(path.read_text()), np.load(path.with_suffix(".npy"), allow_pickle=False))
