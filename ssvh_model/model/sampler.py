"""Which frames of a video the encoder is shown: the differentiable top-k Gumbel-Softmax sampler, uniform
masks and shuffles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from ssvh_model.model.draws import Draws, normal, uniform
from ssvh_model.model.gradient_reversal import reverse_gradient

SamplerKind = Literal["random", "shuffled", "cooperative", "adversarial"]
SCORED = ("cooperative", "adversarial")  # kinds with a Grade-Net


@dataclass(frozen=True)
class SamplerConfig:
    """How visible frames are chosen (method, section 2).

    Attributes:
        kind: `adversarial` (Grade-Net raises the reconstruction loss, through gradient reversal),
            `cooperative` (Grade-Net without reversal), `random` (uniform masks, no Grade-Net) or `shuffled`
            (`select_from_shuffle`, no Grade-Net).
        mask_ratio: share of the frames that are hidden, in (0, 1).
        gumbel: scale of the Gumbel noise on the scores, which are in (0, 1); 1 is the standard
            Gumbel-Softmax.
        noise: delta, standard deviation of the Gaussian noise on the scores.
        temperature: tau of the softmax that the gradient flows through.

    Raises:
        ValueError: a value out of its range.
    """

    kind: SamplerKind
    mask_ratio: float
    gumbel: float
    noise: float
    temperature: float

    def __post_init__(self) -> None:
        if self.kind not in get_args(SamplerKind):
            raise ValueError(f"sampler kind {self.kind!r}; allowed are {', '.join(get_args(SamplerKind))}")
        if not 0 < self.mask_ratio < 1:
            raise ValueError(f"mask_ratio {self.mask_ratio}; allowed is a value between 0 and 1")
        if self.gumbel < 0 or self.noise < 0 or self.temperature <= 0:
            raise ValueError(
                f"gumbel {self.gumbel}, noise {self.noise}, temperature {self.temperature}; "
                "noises must not be negative and the temperature must be positive"
            )


def visible_frames(frames: int, mask_ratio: float) -> int:
    """k = round((1 - mask_ratio) * M), the number of frames that stay visible.

    Raises:
        ValueError: no frame or every frame would be visible.
    """
    visible = round((1 - mask_ratio) * frames)
    if not 0 < visible < frames:
        raise ValueError(
            f"mask_ratio {mask_ratio} shows {visible} of {frames} frames; at least one must be visible and one hidden"
        )
    return visible


@dataclass(frozen=True)
class Selection:
    """The frames that one view of each video shows.

    Attributes:
        visible: [B, k] int64, positions of the visible frames, ascending, so that they keep temporal order;
            of the shuffled sampler, in the order of the shuffle.
        weights: [B, M] float, 1 at visible frames and 0 at hidden ones; its gradient leads to the scores.
    """

    visible: Tensor
    weights: Tensor

    @property
    def hidden(self) -> Tensor:
        """Positions of the other frames, [B, M - k] int64, ascending."""
        count = self.weights.shape[1] - self.visible.shape[1]
        shown = torch.zeros_like(self.weights, dtype=torch.uint8).scatter_(1, self.visible, 1)
        return shown.sort(dim=1, stable=True).indices[:, :count]


def select_at_random(batch: int, frames: int, visible: int, generator: Draws) -> Selection:
    """Uniform selection of `visible` of `frames` frames for each of `batch` videos."""
    return _hard_selection(uniform(batch, frames, draws=generator), visible)


def select_from_shuffle(rows: int, frames: int, visible: int, generator: Draws) -> Selection:
    """Two views of `rows / 2` videos, one view after the other: the first and the last `visible` frames of
    one shuffle of each video.

    Up to half of the frames, no frame is in both views, and frames come in the order of the shuffle (WSCH,
    anon271/WSCH@5ca3ff3).
    """
    order = uniform(rows, frames, draws=generator)[: rows // 2].argsort(dim=1)
    positions = torch.cat([order[:, :visible], order[:, -visible:]])
    weights = torch.zeros(rows, frames, device=order.device).scatter(1, positions, 1.0)
    return Selection(positions, weights)


def select_by_score(
    scores: Tensor, visible: int, config: SamplerConfig, *, reversal: float, generator: Draws
) -> Selection:
    """Top-k of the perturbed scores, hard forward and soft backward (Gumbel-top-k with a straight-through
    gradient).

    Args:
        scores: [B, M] in (0, 1).
        visible: k.
        config: noise levels and temperature.
        reversal: strength of the gradient reversal on the weights; it counts for the adversarial kind only.
        generator: source of the noise, on the device of `scores`.
    """
    perturbed = scores
    if config.gumbel:
        # Away from 0 and 1, where the double logarithm is infinite.
        chances = uniform(*scores.shape, draws=generator).clamp(1e-7, 1 - 1e-7)
        perturbed = perturbed - config.gumbel * torch.log(-torch.log(chances))
    if config.noise:
        perturbed = perturbed + config.noise * normal(*scores.shape, draws=generator)
    selection = _hard_selection(perturbed, visible)
    soft = torch.softmax(perturbed / config.temperature, dim=-1)
    weights = selection.weights + (soft - soft.detach())
    if config.kind == "adversarial":
        weights = reverse_gradient(weights, reversal)
    return Selection(selection.visible, weights)


def _hard_selection(values: Tensor, visible: int) -> Selection:
    positions = values.detach().topk(visible, dim=-1).indices.sort(dim=-1).values
    weights = torch.zeros_like(values).scatter(-1, positions, 1.0)
    return Selection(positions, weights)
