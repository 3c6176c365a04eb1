"""A study before it runs: its videos, its search space, and the name under which it is found again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ssvh_model.errors import UserError
from ssvh_model.training.agreement import LEAST_VIDEOS
from ssvh_model.training.figures import LABEL_FREE_SCORE, VALIDATION_GMAP
from tasks import paths
from tasks.experiments.one_training import FeatureCorpus, OneTraining
from tasks.experiments.videos import find_corpus, open_corpus, why_no_gmap
from tasks.params.changes import with_changes
from tasks.params.keys import look_up
from tasks.params.sections import Params
from tasks.pipeline.trained_by import WHOLE_TRAINING, trained_by
from tasks.tuning.space import ROUNDS, Range, Space, read_space

NAME = "tuning"
KEEPS_START = ("model.code_noise", "model.feature_dropout")  # of section model


@dataclass(frozen=True)
class TuningPlan:
    """What is to be tuned.

    Attributes:
        params: what the trials change.
        corpus: that they are trained on.
        figure: of an epoch's row that a trial's value is the mean of: validation GMAP, or without labels the
            score of the training videos.
        space: what is searched.
        most_clusters: the most clusters of a trial.
        given_name: of the study, as a person named it; "" for none.
    """

    params: Params
    corpus: FeatureCorpus
    figure: str
    space: Space
    most_clusters: int
    given_name: str

    @property
    def study(self) -> str:
        """The study's name: the one that it was given, or one that stands for what it depends on."""
        return self.given_name or f"tune-{self.digest[:8]}"

    @property
    def value_name(self) -> str:
        """What a trial's value is, for a person."""
        return "GMAP" if self.figure == VALIDATION_GMAP else "score without labels"

    @property
    def measured_on(self) -> str:
        """By which videos, for a person."""
        return f"by {'validation' if self.figure == VALIDATION_GMAP else 'training'} videos"

    @property
    def folder(self) -> Path:
        """Where its table and pictures are kept."""
        return paths.RESULTS / NAME / self.study

    @cached_property
    def digest(self) -> str:
        """16 hex digits of all that trials depend on but the values that are searched: after `--apply` it is
        the same study.
        """
        trained = {
            name: value
            for name, value in self.training(self.params, "").parameters.items()
            if name not in self.space.search
            and not (ROUNDS in self.space.search and name.startswith(f"{ROUNDS}."))
        }
        space = {name: repr(one) for name, one in self.space.dimensions.items()}
        tuning = self.params.tuning
        rules = [tuning.averaged, tuning.least_epochs, tuning.reduction]
        code = trained_by(*WHOLE_TRAINING).code_digest()
        text = json.dumps([trained, space, rules, self.corpus.digest, code], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def default_changes(self) -> dict[str, Any]:
        """The searched keys as params.yaml has them."""
        content = self.params.model_dump(by_alias=True, mode="json")
        return {key: look_up(content, key) for key in self.space.search}

    def changed(self, changes: Mapping[str, Any]) -> Params:
        """The parameters of a trial.

        Raises:
            UserError: they do not fit together.
        """
        return with_changes(self.params, changes, where=f"{self.study}: {paths.PARAMS}")

    def training(self, params: Params, name: str) -> OneTraining:
        """The training of a trial."""
        return OneTraining(name, params, self.corpus, "validation")

    def parameters(self) -> dict[str, Any]:
        """What MLflow shows of the whole."""
        return {
            "features": self.corpus.name,
            "search": ", ".join(self.space.search),
            **{f"space.{name}": one for name, one in self.space.dimensions.items()},
            **self.training(self.params, "").parameters,
        }


def plan_tuning(params: Params, features: Path, study: str) -> TuningPlan:
    """What there is to search; it is measured on validation videos or, without labels, on training videos,
    and never on queries.

    Args:
        params: that trials change.
        features: feature file.
        study: its name; "" for one that stands for what it depends on.

    Raises:
        UserError: parameters or features are at fault.
    """
    corpus, params = find_corpus(features, params, "validation", need_labels=False)
    space, file = read_space(params), open_corpus(corpus, params)
    videos, figure = len(file.rows("train")), VALIDATION_GMAP
    if (reason := why_no_gmap(file, params, "validation")) is not None:
        figure = LABEL_FREE_SCORE
        _check_score(features, params, space, videos, reason)
    most = videos // 2
    clusters = space.dimensions.get(f"{ROUNDS}.clusters")
    if isinstance(clusters, Range) and clusters.high > most:
        raise UserError(
            f"{paths.PARAMS}: tuning.space.rounds.clusters.to is {clusters.high:g}; allowed is up to {most}, "
            f"half of the {videos} training videos of {features}"
        )
    return TuningPlan(params, corpus, figure, space, most, study)


def _check_score(features: Path, params: Params, space: Space, videos: int, reason: str) -> None:
    """Refuse what can't be compared without labels: the score of each trial is held against its start, which
    must be the same for all.
    """
    if videos < LEAST_VIDEOS or params.model.start != "itq":
        raise UserError(
            f"{features}: {reason}; the score without labels needs {LEAST_VIDEOS} training videos, of which there are {videos}, "
            f"and model.start: itq, which is {params.model.start}"
        )
    of_start = [key for key in space.search if key.startswith("model.") and key not in KEEPS_START]
    if of_start:
        raise UserError(
            f"{paths.PARAMS}: tuning.search has {of_start[0]}, which changes the start that trials are held against where there are no "
            f"labels ({features}); allowed there is anything outside section model, and {', '.join(KEEPS_START)}"
        )
