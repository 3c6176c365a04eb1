"""The whole objective, L = reconstruction * L_FR + alpha * L_VC + beta * L_P2Set + gamma * L_SP, by its
terms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from ssvh_model.clustering.anchors import Granularity
from ssvh_model.losses.p2set import Negatives, Target, p2set_loss
from ssvh_model.losses.reconstruction import reconstruction_loss
from ssvh_model.losses.similarity import similarity_loss
from ssvh_model.losses.view_contrastive import view_contrastive_loss
from ssvh_model.model.autossvh import View

Schedule = Literal["together", "cyclic"]
# Terms that a pass over the videos leaves out.
LeftOut = tuple[Literal["view_contrastive", "p2set"], ...]


def _whole(rows: Tensor) -> Tensor:
    return rows


@dataclass(frozen=True)
class LossBreakdown:
    """The objective and its unweighted terms, all of them scalars.

    Attributes:
        total: what is minimised.
        terms: by the names under which they are logged; "p2set" is missing while there are no anchors,
            "similarity" without weight.
    """

    total: Tensor
    terms: dict[str, Tensor]

    def named(self) -> dict[str, Tensor]:
        """The total as "loss", and every term."""
        return {"loss": self.total, **self.terms}


@dataclass(frozen=True)
class Objective:
    """Weights and temperatures of the loss (method, section 4).

    A term of weight 0 is measured, but no gradient comes from it.

    Attributes:
        reconstruction: weight of the frame reconstruction loss; 1 in the paper.
        alpha: weight of the contrastive loss between views.
        beta: weight of the point-to-set loss.
        temperature, tau_plus: of the contrastive loss between views.
        negatives: of the point-to-set loss.
        gamma: weight of the similarity loss; 0, as in the paper, spares the codes of the start, too.
        schedule: "together", all terms in every step, or "cyclic", one after the other (`passes`).
        target: of the point-to-set loss.

    Raises:
        ValueError: a negative weight, or nothing but the point-to-set loss has one, which the warm-up does
            not have; an unknown schedule.
    """

    reconstruction: float
    alpha: float
    beta: float
    temperature: float
    tau_plus: float
    negatives: Negatives
    gamma: float = 0.0
    schedule: Schedule = "together"
    target: Target = "cluster"

    def __post_init__(self) -> None:
        weights = (
            f"reconstruction {self.reconstruction}, alpha {self.alpha}, beta {self.beta}, gamma {self.gamma}"
        )
        if min(self.reconstruction, self.alpha, self.beta, self.gamma) < 0:
            raise ValueError(f"{weights}; weights must not be negative")
        if self.reconstruction == self.alpha == self.gamma == 0:
            raise ValueError(f"{weights}; reconstruction, alpha or gamma must be above 0")
        if self.schedule not in get_args(Schedule):
            raise ValueError(f"schedule {self.schedule!r}; allowed are {' and '.join(get_args(Schedule))}")

    def passes(self, *, warmup: bool, clustered: bool) -> tuple[LeftOut, ...]:
        """What each pass over the videos leaves out that together are an epoch.

        With the cyclic schedule (multi-task cyclic training of WSCH, anon271/WSCH@5ca3ff3), the warm-up has
        no contrast between views if it has any other term. Later epochs are a pass without the contrast and a
        pass without the clusters.

        Args:
            warmup: whether it is an epoch of the warm-up.
            clustered: whether there are clusters.
        """
        if self.schedule == "together":
            return ((),)
        if warmup:
            return (("view_contrastive",),) if self.reconstruction or self.gamma else ((),)
        cycle: list[LeftOut] = []
        if clustered and self.beta:
            cycle.append(("view_contrastive",))
        if self.alpha:
            cycle.append(("p2set",))
        return tuple(cycle) or ((),)

    def __call__(
        self,
        views: tuple[View, View],
        index: Tensor,
        granularities: Sequence[Granularity],
        first_codes: Tensor | None = None,
        gather: Callable[[Tensor], Tensor] = _whole,
        left_out: LeftOut = (),
    ) -> LossBreakdown:
        """The loss of a batch.

        Args:
            views: two views of the batch.
            index: [B] int64, rows of the videos in the training set.
            granularities: clusterings of the training set; empty during warm-up, which has no P2Set term.
            first_codes: [N, K'], codes of the training set at the start of the training; not needed without
                the similarity loss.
            gather: where the arguments are the part of a batch that one of several processes has, makes rows
                of all parts from rows of this one; the loss is that of the whole batch then.
            left_out: terms that are measured as if they had no weight.
        """
        first, second = (gather(view.soft_codes) for view in views)
        terms = {
            "reconstruction": torch.stack(
                [reconstruction_loss(gather(view.errors), gather(view.selection.weights)) for view in views]
            ).sum(),
            "view_contrastive": view_contrastive_loss(
                first, second, temperature=self.temperature, tau_plus=self.tau_plus
            ),
        }
        if granularities:
            everything = gather(index)
            terms["p2set"] = torch.stack(
                [
                    p2set_loss(codes, everything, granularities, negatives=self.negatives, target=self.target)
                    for codes in (first, second)
                ]
            ).mean()
        if self.gamma:
            if first_codes is None:
                raise ValueError("the similarity loss needs the codes of the start")
            terms["similarity"] = similarity_loss(first, second, first_codes[gather(index)].float())
        weights = {
            "reconstruction": self.reconstruction,
            "view_contrastive": self.alpha,
            "p2set": self.beta,
            "similarity": self.gamma,
        }
        # A term of weight 0 is left out, not multiplied by 0, so that it costs no backward pass and Adam does
        # not see it.
        counted = [name for name in terms if weights[name] and name not in left_out]
        total = torch.stack([weights[name] * terms[name] for name in counted]).sum()
        return LossBreakdown(total, terms)
