"""Adam's steps.

`torch.optim.Adam` makes the same ones, bit for bit. It imports torch's compiler first, which takes as long
as torch itself and would be most of a short training's time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # as by default in torch.optim.Adam


@dataclass
class Moments:
    """What Adam keeps of one weight.

    Attributes:
        mean: of the gradients, decaying; as the weight.
        square: of their squares, decaying; as the weight.
        steps: so far, [] float32.
    """

    mean: Tensor
    square: Tensor
    steps: Tensor

    @classmethod
    def of(cls, weight: Tensor) -> Moments:
        """Those of a weight that was never moved."""
        steps = torch.zeros((), dtype=torch.float32, device=weight.device)
        return cls(torch.zeros_like(weight), torch.zeros_like(weight), steps)


class Adam:
    """Moves weights by the method of Kingma and Ba, "Adam: A method for stochastic optimization", ICLR 2015.

    Attributes:
        weights: that are moved, float32.
        learning_rate: of the next step.
        moments: one for each weight; None until its first step.
    """

    def __init__(self, weights: Iterable[Tensor], *, learning_rate: float) -> None:
        self.weights = list(weights)
        self.learning_rate = learning_rate
        self.moments: list[Moments | None] = [None] * len(self.weights)

    def clear(self) -> None:
        """Forget all gradients."""
        for weight in self.weights:
            weight.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move each weight that has a gradient."""
        moved, gradients, moments = [], [], []
        for place, weight in enumerate(self.weights):
            if weight.grad is None:
                continue
            if (found := self.moments[place]) is None:
                found = self.moments[place] = Moments.of(weight)
            moved.append(weight)
            gradients.append(weight.grad)
            moments.append(found)
        adam(
            moved,
            gradients,
            [one.mean for one in moments],
            [one.square for one in moments],
            [],
            [one.steps for one in moments],
            fused=True,
            amsgrad=False,
            beta1=BETA1,
            beta2=BETA2,
            lr=self.learning_rate,
            weight_decay=0.0,
            eps=EPSILON,
            maximize=False,
        )

    def state(self) -> list[dict[str, Tensor] | None]:
        """The moments as plain values and tensors."""
        return [None if one is None else vars(one) for one in self.moments]

    def restore(self, state: Sequence[Mapping[str, Any] | None]) -> None:
        """Go on from what `state()` was.

        Raises:
            ValueError: it is not of these weights.
        """
        if len(state) != len(self.weights):
            raise ValueError(
                f"the optimizer has moments of {len(state)} weights; there are {len(self.weights)}"
            )
        self.moments = [
            None if one is None else _checked(one, weight)
            for one, weight in zip(state, self.weights, strict=True)
        ]


def _checked(state: Mapping[str, Any], weight: Tensor) -> Moments:
    for name in ("mean", "square"):
        found, allowed = ((of.layout, of.dtype, list(of.shape)) for of in (state[name], weight))
        if found != allowed:
            raise ValueError(f"the optimizer's {name} is {found}; allowed is {allowed}")
    steps = state["steps"]
    if steps.shape or steps.dtype != torch.float32 or not 0 < float(steps) < 2**53:
        raise ValueError(f"the optimizer's steps are {steps}")
    mean, square, steps = (state[name].to(weight.device).clone() for name in ("mean", "square", "steps"))
    return Moments(mean, square, steps)
