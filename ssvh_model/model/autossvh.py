"""The whole model as it is trained: hasher, Grade-Net, sampler and decoder."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ssvh_model.model.decoder import FrameDecoder
from ssvh_model.model.draws import Draws, normal, uniform
from ssvh_model.model.grade_net import GradeNet
from ssvh_model.model.hasher import HasherConfig, VideoHasher
from ssvh_model.model.precision import full_precision, multiplicand
from ssvh_model.model.sampler import (
    SamplerConfig,
    Selection,
    select_at_random,
    select_by_score,
    visible_frames,
)


@dataclass(frozen=True)
class DecoderConfig:
    """Size of the decoder's Transformer; its MLP ratio is the encoder's."""

    width: int
    layers: int
    heads: int


@dataclass(frozen=True)
class View:
    """What one draw of the sampler makes of a batch.

    Attributes:
        soft_codes: [B, K'] in [-1, +1], mean of the visible frames' codes.
        errors: [B, M], mean squared error of each frame as the decoder reconstructs it; those of hidden frames alone have a gradient.
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
        self.grade_net = None if sampler.kind == "random" else GradeNet(hasher.width)
        self.decoder = FrameDecoder(
            feature_size=hasher.feature_size,
            frames=hasher.frames,
            bits=hasher.trained_bits,
            width=decoder.width,
            layers=decoder.layers,
            heads=decoder.heads,
            mlp_ratio=hasher.mlp_ratio,
        )

    def scores(self, embedded: Tensor) -> Tensor:
        """Grade-Net's scores [B, M] of embedded frames [B, M, E].

        The embedding is detached: it is trained to lower the loss, and must not learn from the adversary's gradient.

        Raises:
            ValueError: the sampler is `random`, which has no Grade-Net.
        """
        if self.grade_net is None:
            raise ValueError("the random sampler has no scores")
        return full_precision(self.grade_net(embedded.detach()))

    def select(self, embedded: Tensor, *, reversal: float, generator: Draws, views: int = 1) -> Selection:
        """A draw of visible frames for each video of `embedded` [B, M, E], or for several `views` of each, one view after the other."""
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
        shown = embedded.gather(1, selection.visible[:, :, None].expand(-1, -1, embedded.shape[-1]))
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
            generator: of everything random, on the device of `features`; with parts of draws, `features` are the rows of a part.
            dropout: share of the input values that are zeroed, for each view anew.
            code_noise: standard deviation of Gaussian noise on what the codes are the signs of, one draw a bit and view. A bit survives it
                only far from the border between -1 and +1, so that codes become sure (Salakhutdinov and Hinton, "Semantic Hashing", 2009).
        """
        features = multiplicand(features)  # once, for all that multiplies them
        # Both views go through the networks as one batch of 2B, which is faster than twice B.
        if dropout:
            embedded = self.hasher.embed(drop_values(torch.cat([features, features]), dropout, generator))
            selection = self.select(embedded, reversal=reversal, generator=generator)
        else:
            once = self.hasher.embed(features)
            embedded = once.repeat(2, 1, 1)
            selection = self.select(once, reversal=reversal, generator=generator, views=2)
        noise = None
        if code_noise:
            noise = code_noise * normal(len(embedded), 1, self.hasher.config.trained_bits, draws=generator)
        view = self.view(embedded, selection, features, noise)
        half = len(features)
        return view[:half], view[half:]


def build_model(
    hasher: HasherConfig, decoder: DecoderConfig, sampler: SamplerConfig, *, seed: int
) -> AutoSSVH:
    """An `AutoSSVH` on the CPU whose initial weights depend on `seed` alone, not on torch's global state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoSSVH(hasher, decoder, sampler)
