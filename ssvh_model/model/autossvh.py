"""The whole model as it is trained: hasher, Grade-Net, sampler and decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor, nn

from ssvh_model.model.decoder import FrameDecoder
from ssvh_model.model.draws import Draws, normal, uniform
from ssvh_model.model.frame_errors import FrameError
from ssvh_model.model.grade_net import GradeNet
from ssvh_model.model.hasher import HasherConfig, VideoHasher
from ssvh_model.model.positionless_decoder import PositionlessDecoder
from ssvh_model.model.precision import full_precision, multiplicand
from ssvh_model.model.sampler import (
    SCORED,
    SamplerConfig,
    Selection,
    select_at_random,
    select_by_score,
    select_from_shuffle,
    visible_frames,
)


@dataclass(frozen=True)
class DecoderConfig:
    """What a decoder is built from.

    Attributes:
        width, layers, heads: of its Transformer; its MLP ratio is the encoder's.
        positions: whether each hidden frame is reconstructed at its own position, or all of a video alike
            (`PositionlessDecoder`).
        error: of a reconstructed frame.

    Raises:
        ValueError: an unknown error.
    """

    width: int
    layers: int
    heads: int
    # So that checkpoints without them can be read.
    positions: bool = True
    error: FrameError = "squared"

    def __post_init__(self) -> None:
        if self.error not in get_args(FrameError):
            raise ValueError(f"error is {self.error!r}; allowed are {' and '.join(get_args(FrameError))}")


@dataclass(frozen=True)
class View:
    """What one draw of the sampler makes of a batch.

    Attributes:
        soft_codes: [B, K'] in [-1, +1], mean of the visible frames' codes.
        errors: [B, M], error of each frame as the decoder reconstructs it; those of hidden frames alone
            count.
        selection: the visible frames and their weights.
    """

    soft_codes: Tensor
    errors: Tensor
    selection: Selection

    def __getitem__(self, videos: slice) -> View:
        """The same of some of the videos."""
        selection = Selection(self.selection.visible[videos], self.selection.weights[videos])
        return View(self.soft_codes[videos], self.errors[videos], selection)


def drop_values(features: Tensor, share: float, draws: Draws) -> Tensor:
    """Dropout whose noise comes from `draws`: zeroes a `share` of the values and scales up the others."""
    kept = uniform(*features.shape, draws=draws) >= share
    return features * kept / (1 - share)


def visible_of(frames: Tensor, selection: Selection) -> Tensor:
    """The visible ones of [B, M, E] frames, [B, k, E]."""
    return frames.gather(1, selection.visible[:, :, None].expand(-1, -1, frames.shape[-1]))


class AutoSSVH(nn.Module):
    """Adversarial frame sampling for self-supervised video hashing (Lian et al., CVPR 2025).

    Raises:
        ValueError: a configuration that can't work, by its name.
    """

    def __init__(self, hasher: HasherConfig, decoder: DecoderConfig, sampler: SamplerConfig) -> None:
        super().__init__()
        self.sampler = sampler
        self.visible = visible_frames(hasher.frames, sampler.mask_ratio)
        self.hasher = VideoHasher(hasher)
        self.grade_net = GradeNet(hasher.width) if sampler.kind in SCORED else None
        self.decoder = (FrameDecoder if decoder.positions else PositionlessDecoder)(
            feature_size=hasher.feature_size,
            frames=hasher.frames,
            bits=hasher.trained_bits,
            width=decoder.width,
            layers=decoder.layers,
            heads=decoder.heads,
            mlp_ratio=hasher.mlp_ratio,
            error=decoder.error,
        )

    def scores(self, embedded: Tensor) -> Tensor:
        """Grade-Net's scores [B, M] of embedded frames [B, M, E].

        The embedding is detached: it is trained to lower the loss, and must not learn from the adversary's
        gradient.

        Raises:
            ValueError: the sampler has no Grade-Net.
        """
        if self.grade_net is None:
            raise ValueError(f"the {self.sampler.kind} sampler has no scores")
        return full_precision(self.grade_net(embedded.detach()))

    def select(self, embedded: Tensor, *, reversal: float, generator: Draws, views: int = 1) -> Selection:
        """A draw of visible frames for each video of `embedded` [B, M, E], or for several `views` of each,
        one view after the other.
        """
        batch, frames, _ = embedded.shape
        if self.grade_net is None:
            return select_at_random(views * batch, frames, self.visible, generator)
        scores = self.scores(embedded).repeat(views, 1)
        return select_by_score(scores, self.visible, self.sampler, reversal=reversal, generator=generator)

    def view(
        self, embedded: Tensor, selection: Selection, features: Tensor, noise: Tensor | None = None
    ) -> View:
        """Encode the visible frames, and see how well all frames can be reconstructed from them.

        Args:
            embedded: [B, M, E], frames with their positions.
            selection: of the frames.
            features: [B / n, M, D], what the frames are; for n views of each video one after the other.
            noise: on the hash values, [B, 1, K'].
        """
        return self._view(visible_of(embedded, selection), selection, features, noise)

    def _view(self, shown: Tensor, selection: Selection, features: Tensor, noise: Tensor | None) -> View:
        frame_codes = self.hasher.frame_codes(shown, noise)
        return View(frame_codes.mean(dim=1), self.decoder.errors(frame_codes, selection, features), selection)

    def forward(
        self,
        features: Tensor,
        *,
        reversal: float,
        generator: Draws,
        dropout: float = 0.0,
        code_noise: float = 0.0,
    ) -> tuple[View, View]:
        """Two independent views of a batch of centred frame features [B, M, D] (`VideoHasher.center`).

        Args:
            features: [B, M, D].
            reversal: strength of the gradient reversal.
            generator: of everything random, on the device of `features`; with parts of draws, `features` are
                the rows of a part.
            dropout: share of the input values that are zeroed, for each view anew.
            code_noise: standard deviation of Gaussian noise on what the codes are the signs of, one draw a
                bit and view. A bit survives it only far from the border between -1 and +1, so that codes
                become sure (Salakhutdinov and Hinton, "Semantic Hashing", 2009).
        """
        features = multiplicand(features)  # once, for all that multiplies them
        # Both views go through the networks as one batch of 2B, which is faster than twice B.
        if self.sampler.kind == "shuffled":
            shown, selection = self._shuffled(features, dropout, generator)
        else:
            if dropout:
                embedded = self.hasher.embed(drop_values(torch.cat([features, features]), dropout, generator))
                selection = self.select(embedded, reversal=reversal, generator=generator)
            else:
                once = self.hasher.embed(features)
                embedded = once.repeat(2, 1, 1)
                selection = self.select(once, reversal=reversal, generator=generator, views=2)
            shown = visible_of(embedded, selection)
        noise = None
        if code_noise:
            noise = code_noise * normal(len(shown), 1, self.hasher.config.trained_bits, draws=generator)
        view = self._view(shown, selection, features, noise)
        half = len(features)
        return view[:half], view[half:]

    def _shuffled(self, features: Tensor, dropout: float, generator: Draws) -> tuple[Tensor, Selection]:
        """The visible frames of both views with their positions, [2B, k, E]. They are chosen without a look,
        so that no others are embedded.
        """
        batch, frames, _ = features.shape
        selection = select_from_shuffle(2 * batch, frames, self.visible, generator)
        videos = torch.arange(batch, device=features.device).repeat(2)[:, None]
        shown = features[videos, selection.visible]
        if dropout:
            shown = drop_values(shown, dropout, generator)
        return self.hasher.embed(shown, at=selection.visible), selection


def build_model(
    hasher: HasherConfig, decoder: DecoderConfig, sampler: SamplerConfig, *, seed: int
) -> AutoSSVH:
    """An `AutoSSVH` on the CPU whose initial weights depend on `seed` alone, not on torch's global state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoSSVH(hasher, decoder, sampler)
