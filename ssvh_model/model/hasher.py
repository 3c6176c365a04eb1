"""The hasher: frame features in, codes out. The part of the model that is kept after training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ssvh_model.model.binarize import binarize, sign
from ssvh_model.model.positions import sinusoidal_positions
from ssvh_model.model.precision import Precision, arithmetic, full_precision
from ssvh_model.model.state_space import StateSpaceEncoder
from ssvh_model.model.transformer import Transformer

Pooling = Literal["votes", "values"]
EncoderKind = Literal["transformer", "state_space"]
ENCODERS: dict[EncoderKind, type[Transformer | StateSpaceEncoder]] = {
    "transformer": Transformer,
    "state_space": StateSpaceEncoder,
}


@dataclass(frozen=True)
class HasherConfig:
    """What a `VideoHasher` is built from.

    Attributes:
        feature_size: D, size of a frame feature.
        frames: M, frames a video.
        bits: K, length of a code.
        width: E, width of the embedding and the encoder.
        layers, heads, mlp_ratio: of the encoder.
        position_scale: factor of the sinusoidal positions beside the embedded frames; the paper's is 1.
        pooling: how the frames of a video make its code: "votes", the mean of their codes, as in the paper,
            or "values", the mean of what their codes are the signs of, in which a frame near the border
            between -1 and +1 counts less.
        training_bits: K', length of the codes while training, of which `Compression` makes K bits; None for
            K, and no compression.
        precision: of the matrix products that make codes of stored or fresh features. It stands with the
            weights, so that all of a hasher's codes are made alike.
        encoder: "transformer", or "state_space", the wide shallow one of WSCH, which takes each frame's
            features normalised.

    Raises:
        ValueError: an unknown precision or encoder.
    """

    feature_size: int
    frames: int
    bits: int
    width: int
    layers: int
    heads: int
    mlp_ratio: float
    position_scale: float
    pooling: Pooling
    # So that hashers saved without them can be read.
    training_bits: int | None = None
    precision: Precision = "float32"
    encoder: EncoderKind = "transformer"

    def __post_init__(self) -> None:
        if self.precision not in get_args(Precision):
            raise ValueError(
                f"precision is {self.precision!r}; allowed are {' and '.join(get_args(Precision))}"
            )
        if self.encoder not in get_args(EncoderKind):
            raise ValueError(
                f"encoder is {self.encoder!r}; allowed are {' and '.join(get_args(EncoderKind))}"
            )

    @property
    def trained_bits(self) -> int:
        """Length of the codes that are trained: K', or K without compression."""
        return self.bits if self.training_bits is None else self.training_bits


class HashLayer(nn.Module):
    """Linear(E, K) -> LayerNorm -> hard sign, [..., E] -> [..., K] in {-1, +1} (method, section 3)."""

    def __init__(self, width: int, bits: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, bits)
        self.norm = nn.LayerNorm(bits)

    def values(self, tokens: Tensor) -> Tensor:
        """What the codes are the signs of, [..., E] -> [..., K]; mean 0 and variance 1 over the bits at the
        start of training.
        """
        return self.norm(full_precision(self.linear(tokens)))

    def forward(self, tokens: Tensor) -> Tensor:
        return binarize(self.values(tokens))


class Compression(nn.Module):
    """What the signs of longer codes are of, less its mean, projected onto fewer axes, [..., K'] -> [..., K]
    (`learn_compression`).
    """

    mean: Tensor
    projection: Tensor

    def __init__(self, longer: int, bits: int) -> None:
        super().__init__()
        # The first K values, until it is learnt.
        self.register_buffer("mean", torch.zeros(longer))
        self.register_buffer("projection", torch.zeros(longer, bits).fill_diagonal_(1))

    def forward(self, values: Tensor) -> Tensor:
        return (values - self.mean) @ self.projection


class VideoHasher(nn.Module):
    """Frame embedding, encoder over the frames it is shown, hash layer and, where codes are trained longer,
    compression.
    """

    positions: Tensor
    feature_mean: Tensor
    feature_scale: Tensor

    def __init__(self, config: HasherConfig) -> None:
        super().__init__()
        self.config = config
        # Identity until `learn_center` has seen the training set; part of the weights.
        self.register_buffer("feature_mean", torch.zeros(config.feature_size))
        self.register_buffer("feature_scale", torch.ones(()))
        self.feature_norm: nn.Module = (
            nn.LayerNorm(config.feature_size) if config.encoder == "state_space" else nn.Identity()
        )
        self.embedding = nn.Linear(config.feature_size, config.width)
        positions = sinusoidal_positions(config.frames, config.width, config.position_scale)
        self.register_buffer("positions", positions, persistent=False)
        self.encoder = ENCODERS[config.encoder](
            width=config.width, layers=config.layers, heads=config.heads, mlp_ratio=config.mlp_ratio
        )
        self.hash_layer = HashLayer(config.width, config.trained_bits)
        self.compression = (
            None if config.training_bits is None else Compression(config.training_bits, config.bits)
        )

    def center(self, features: Tensor) -> Tensor:
        """Frame features [B, M, D] less the training set's mean, over its scale; unchanged if these were not
        learnt.
        """
        return (features - self.feature_mean).div_(self.feature_scale)

    def embed(self, features: Tensor, at: Tensor | None = None) -> Tensor:
        """Centred frame features [B, M, D] -> embedded frames with their positions [B, M, E]; of some frames,
        which are `at` [B, k] int64.
        """
        positions = self.positions if at is None else self.positions[at]
        return self.embedding(self.feature_norm(features)) + positions

    def frame_codes(self, embedded: Tensor, noise: Tensor | None = None) -> Tensor:
        """Embedded frames [B, T, E], any T >= 1 of them -> frame codes [B, T, K'] in {-1, +1}, as long as
        they are trained.

        Args:
            embedded: frames with their positions.
            noise: added to what the codes are the signs of, [B, 1, K']: the same for all frames of a video.
        """
        values = self.hash_layer.values(self.encoder(embedded))
        return binarize(values if noise is None else values + noise)

    def trained_codes(self, features: Tensor, frames: slice = slice(None)) -> Tensor:
        """Soft video codes [B, K'] of features [B, M, D], as long as they are trained: no sampler and no
        noise.

        All `frames` are shown, or some in a row. The codes are in [-1, +1] when frames are pooled by votes.
        """
        with arithmetic(self.config.precision, features.device):
            encoded = self.encoder(self.embed(self.center(features))[:, frames])
            pooled = (
                self.hash_layer(encoded)
                if self.config.pooling == "votes"
                else self.hash_layer.values(encoded)
            )
            return pooled.mean(dim=1)

    def forward(self, features: Tensor, frames: slice = slice(None)) -> Tensor:
        """Soft video codes [B, K] of features [B, M, D], whose sign is the code: `trained_codes`, compressed
        where they are longer.
        """
        codes = self.trained_codes(features, frames)
        return codes if self.compression is None else self.compression(codes)

    @torch.no_grad()
    def codes(self, features: Tensor) -> Tensor:
        """Video codes [B, K] int8 in {-1, +1}: the sign of the soft codes."""
        return sign(self(features)).to(torch.int8)
