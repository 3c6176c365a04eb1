"""What can go wrong while training, where it begins, and which parameter to try."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from ssvh_model.model.sampler import SCORED, SamplerKind

CHECKS = (
    "grade_net_uniform",
    "score_unrelated",
    "plateau_before_p2set",
    "dead_bits",
    "duplicate_bits",
    "collapsed_codes",
    "empty_clusters",
    "giant_cluster",
    "growing_gap",
    "below_start",
)

WARMUP = "warmup"
# What made codes better than their start where they had become worse (docs/explanation/quality.md).
WORSE_THAN_START = "a higher losses.gamma, or a lower losses.alpha or training.learning_rate"


@dataclass(frozen=True)
class Thresholds:
    """Where a figure is out of bounds; see the figures' own documentation for what they mean.

    Attributes:
        patience: measurements in a row that a figure must be out of bounds before it counts.
        score_spread: least standard deviation of the scores within a video.
        selection_entropy: greatest entropy of the selection, 1 is uniform.
        score_error_correlation: least rank correlation of score and reconstruction error, in the direction
            that the sampler's kind wants.
        plateau_measurements: measurements over which the validation GMAP must have risen.
        plateau_gain: by at least so much, relative to the best before.
        bit_balance: greatest |mean| of a bit.
        bit_correlation: greatest |correlation| of two bits.
        code_diversity: least share of codes that are effectively different.
        empty_clusters: greatest share of clusters without members.
        giant_cluster: greatest excess of the largest cluster.
        gap_growth: greatest growth of validation loss / training loss since it was smallest.
        start_loss: greatest loss of the score without labels against that of the start, as a share of it.

    Raises:
        ValueError: a count below 1 or a negative threshold.
    """

    patience: int
    score_spread: float
    selection_entropy: float
    score_error_correlation: float
    plateau_measurements: int
    plateau_gain: float
    bit_balance: float
    bit_correlation: float
    code_diversity: float
    empty_clusters: float
    giant_cluster: float
    gap_growth: float
    start_loss: float

    def __post_init__(self) -> None:
        if self.patience < 1 or self.plateau_measurements < 1:
            raise ValueError(
                f"patience {self.patience}, plateau_measurements {self.plateau_measurements}; allowed is from 1"
            )
        for field in fields(self):
            if getattr(self, field.name) < 0:
                raise ValueError(f"{field.name} {getattr(self, field.name)}; allowed is from 0")


@dataclass(frozen=True)
class Bound:
    """A limit of one figure.

    Attributes:
        check: which check it belongs to, one of `CHECKS`.
        figure: name of the figure.
        out: the side of the threshold that is out of bounds.
        threshold: a value on it is in bounds.
        means: what a figure out of bounds says of the training.
        remedy: the parameter to try.
    """

    check: str
    figure: str
    out: Literal["above", "below"]
    threshold: float
    means: str
    remedy: str

    def broken_by(self, value: float) -> bool:
        """Whether `value` is out of bounds."""
        return value > self.threshold if self.out == "above" else value < self.threshold


def bounds(limits: Thresholds, *, sampler: SamplerKind, phase: str) -> list[Bound]:
    """What to judge and what to try, for a kind of sampler and a phase ("warmup", "round-1", ...)."""
    uniform = "Grade-Net's scores hardly decide which frames are shown"
    found = [
        Bound(
            "dead_bits",
            "largest_absolute_balance",
            "above",
            limits.bit_balance,
            "a bit is the same for nearly all training videos",
            "a higher losses.alpha or model.center_features: true",
        ),
        Bound(
            "duplicate_bits",
            "largest_absolute_correlation",
            "above",
            limits.bit_correlation,
            "two bits say the same of nearly all training videos",
            "fewer model.bits or a higher losses.alpha",
        ),
        Bound(
            "collapsed_codes",
            "code_diversity",
            "below",
            limits.code_diversity,
            "most training videos share a few codes",
            "a higher losses.alpha, or a lower losses.beta if it came with the clusters",
        ),
        Bound(
            "empty_clusters",
            "empty_clusters",
            "above",
            limits.empty_clusters,
            "many clusters have no video",
            "smaller counts in rounds.<number>.clusters",
        ),
        Bound(
            "giant_cluster",
            "giant_cluster",
            "above",
            limits.giant_cluster,
            "one cluster holds most training videos",
            "more warmup.epochs or a higher losses.alpha, so that codes differ before they are clustered",
        ),
        Bound(
            "plateau_before_p2set",
            "validation_gmap_gain",
            "below",
            limits.plateau_gain,
            "the validation GMAP has stopped rising and clusters have not helped yet",
            "fewer warmup.epochs"
            if phase == WARMUP
            else "more warmup.epochs, another losses.beta or other counts in rounds.<number>.clusters",
        ),
    ]
    found.append(
        Bound(
            "below_start",
            "score_loss",
            "above",
            limits.start_loss,
            "by the score without labels, the codes are worse than those that the training began with",
            WORSE_THAN_START,
        )
    )
    for loss in ("reconstruction", "view_contrastive"):
        found.append(
            Bound(
                "growing_gap",
                f"{loss}_gap_growth",
                "above",
                limits.gap_growth,
                f"the loss {loss} on validation videos moves away from that on training videos",
                "fewer epochs, fewer model.layers or a higher model.feature_dropout",
            )
        )
    if sampler in SCORED:
        found += [
            Bound(
                "grade_net_uniform",
                "score_spread",
                "below",
                limits.score_spread,
                uniform,
                "a higher sampler.reversal" if sampler == "adversarial" else "a lower sampler.temperature",
            ),
            Bound(
                "grade_net_uniform",
                "selection_entropy",
                "above",
                limits.selection_entropy,
                uniform,
                "a lower sampler.gumbel or sampler.noise",
            ),
            Bound(
                "score_unrelated",
                "wanted_score_error_correlation",
                "below",
                limits.score_error_correlation,
                "the scores do not follow the reconstruction error as the sampler is meant to",
                "a lower sampler.noise, or a higher sampler.reversal"
                if sampler == "adversarial"
                else "a lower sampler.noise or sampler.temperature",
            ),
        ]
    return found
