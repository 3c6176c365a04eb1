"""All that decides a training's weights beside its videos and the length of its phases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ssvh_model.clustering.anchors import Centres, Points, Temperatures
from ssvh_model.losses.objective import Objective
from ssvh_model.training.checkpoint import ModelConfig
from ssvh_model.training.initialization import CANDIDATES, Candidate, Whitening
from ssvh_model.training.trainer import Optimization


@dataclass(frozen=True)
class Initialization:
    """The weights that a training begins with.

    Attributes:
        start: "random", or "itq" as `start_from_itq` makes them.
        center_features: whether features are centred by what `learn_center` finds.
        whitening, within_video: of `start_from_itq`; "auto" has `choose_start` choose.
    """

    start: Literal["random", "itq"]
    center_features: bool
    whitening: Whitening | Literal["auto"]
    within_video: float | Literal["auto"] | None

    def candidates(self) -> list[Candidate]:
        """Starts from ITQ to choose from; one if nothing is to be chosen."""
        return list(
            dict.fromkeys(
                (
                    whitening if self.whitening == "auto" else self.whitening,
                    within_video if self.within_video == "auto" else self.within_video,
                )
                for whitening, within_video in CANDIDATES
            )
        )


@dataclass(frozen=True)
class ClusteringSettings:
    """How anchors are made; the arguments of `make_anchors`."""

    iterations: int
    restarts: int
    points_per_centroid: int
    mean_concentration: float
    centres: Centres
    points: Points = "values"
    temperatures: Temperatures = "by_density"


@dataclass(frozen=True)
class TrainingSettings:
    """The settings of a training.

    Attributes:
        model: what the model is built from; it fits the features.
        initialization: the weights that it begins with.
        objective: the loss.
        evened_objective: the loss where the start evens out what changes within videos.
        optimization: the steps.
        clustering: the anchors of a round.
        seed: of every random choice.
    """

    model: ModelConfig
    initialization: Initialization
    objective: Objective
    evened_objective: Objective
    optimization: Optimization
    clustering: ClusteringSettings
    seed: int
