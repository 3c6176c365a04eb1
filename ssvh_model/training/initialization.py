"""Starting weights that hash well before the first step: ITQ of whitened features, written into the
hasher.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from ssvh_model.model.hasher import VideoHasher
from ssvh_model.model.transformer import Block
from ssvh_model.retrieval.itq import train_itq
from ssvh_model.training.agreement import LEAST_VIDEOS, code_agreement, some_videos
from ssvh_model.training.compressing import learn_compression
from ssvh_model.training.encoding import encode
from ssvh_model.training.frame_source import FrameSource
from ssvh_model.training.principal_axes import PrincipalAxes

Whitening = float | Literal["by_length"]
Candidate = tuple[Whitening, float | None]

# What `choose_start` chooses from: whitening and within_video.
CANDIDATES: tuple[Candidate, ...] = tuple(
    (whitening, within_video) for whitening in (0.0, 0.5) for within_video in (None, 0.1, 1.0)
)

# Shrinkage from which on little is left of an evening-out.
WEAK_EVENING = 1.0


def evens_out(within_video: float | None) -> bool:
    """Whether a start evens out what changes within videos so much that its neighbours say little of kinds.

    It is chosen where recordings, not kinds, are what is near in the features; there the contrast of views
    should lead and nothing be kept near the start (docs/explanation/quality.md).
    """
    return within_video is not None and within_video < WEAK_EVENING


def whitening_by_length(bits: int) -> float:
    """Whitening for codes of K `bits`: 1 up to 16 bits, 0.5 from 64 on, linear in log2(K) between.

    K bits begin with the K strongest axes. The first few tell recordings apart rather than kinds and are much
    stronger than the rest, which only more bits outvote. Found on training clips of few recordings
    (benchmarks/README.md).
    """
    return min(1.0, max(0.5, 1 - math.log2(bits / 16) / 4))


@dataclass(frozen=True)
class StartChoice:
    """A start from ITQ that was chosen.

    Attributes:
        whitening, within_video: of `start_from_itq`.
        agreement: of each that there was to choose from; None for too few videos, which start with the first.
    """

    whitening: Whitening
    within_video: float | None
    agreement: dict[Candidate, float | None]


def choose_start(
    hasher: VideoHasher,
    videos: FrameSource,
    candidates: Sequence[Candidate],
    *,
    seed: int,
    batch_size: int,
) -> StartChoice:
    """The start from ITQ whose codes agree most between the halves of videos and of their frames
    (`code_agreement`); no labels are needed.

    Which directions of the features tell kinds apart differs between corpora: where all videos are of a few
    rooms, what moves before the camera hides the kinds, and evening out what changes within videos doubles
    GMAP; where kinds are what is seen, it halves it. Over such starts the agreement goes with GMAP
    (docs/explanation/quality.md).

    Args:
        hasher: with its centre and scale; its other weights are changed.
        videos: the training videos, of which some are enough.
        candidates: to choose from; the first of equals is taken.
        seed, batch_size: of `start_from_itq`.
    """
    if len(videos) < LEAST_VIDEOS:
        return StartChoice(*candidates[0], dict.fromkeys(candidates))
    agreement: dict[Candidate, float | None] = {}
    some = some_videos(videos)
    device = hasher.feature_mean.device
    principal_axes = PrincipalAxes(hasher, some, batch_size=batch_size)
    for whitening, within_video in candidates:
        _write_itq(hasher, principal_axes, whitening, within_video, seed)
        with _without_blocks(hasher):
            if hasher.compression is not None:
                codes = encode(hasher, some, batch_size=batch_size, device=device, compressed=False)
                learn_compression(hasher, codes, seed=seed)
            agreement[whitening, within_video] = code_agreement(
                hasher, some, batch_size=batch_size, device=device, seed=seed
            )
    best = max(candidates, key=lambda one: agreement[one] or 0.0)
    return StartChoice(*best, agreement)


def start_from_itq(
    hasher: VideoHasher,
    videos: FrameSource,
    *,
    whitening: Whitening,
    within_video: float | None,
    seed: int,
    batch_size: int,
) -> None:
    """Write an iterative quantisation of the training videos into `hasher`; training goes on from there. Not
    in the paper.

    A network of random weights needs thousands of videos to come as far as ITQ does in a second, and on a few
    hundred it may never get there. The embedding becomes the principal axes of the videos' mean features,
    each divided by its standard deviation to the power of `whitening`; the hash layer becomes ITQ's rotation
    of the first K of them; the last layer of every residual branch becomes 0 (Zhang et al., "Fixup
    Initialization", ICLR 2019), so that the encoder passes frames on until it has learnt better.

    Args:
        hasher: its centre and scale are those that the features will have (`learn_center` comes first).
        videos: the training videos.
        whitening: 0 keeps the proportions of the axes (plain PCA), 1 makes all equally strong; "by_length" is
            `whitening_by_length`.
        within_video: shrinkage of a whitening of what changes within videos, which comes first
            (`WithinVideoScatter`); None for none.
        seed: of ITQ's first rotation, which spreads fewer directions than bits over all bits.
        batch_size: videos in memory at a time.

    Raises:
        ValueError: the encoder is no Transformer.
    """
    principal_axes = PrincipalAxes(hasher, videos, batch_size=batch_size)
    _write_itq(hasher, principal_axes, whitening, within_video, seed)


@contextmanager
def _without_blocks(hasher: VideoHasher) -> Iterator[None]:
    """Leave out the encoder's blocks: at the start they give what they are given, in most of the time."""
    blocks, hasher.encoder.blocks = hasher.encoder.blocks, nn.ModuleList()
    try:
        yield
    finally:
        hasher.encoder.blocks = blocks


@torch.no_grad()
def _write_itq(
    hasher: VideoHasher,
    principal_axes: PrincipalAxes,
    whitening: Whitening,
    within_video: float | None,
    seed: int,
) -> None:
    if hasher.config.encoder != "transformer":
        raise ValueError(f"a start from ITQ needs a transformer; the encoder is {hasher.config.encoder}")
    axes, deviation = principal_axes.strongest(hasher.config.width, within_video=within_video)
    bits = hasher.config.trained_bits
    used = min(bits, len(axes))
    power = whitening_by_length(bits) if whitening == "by_length" else whitening
    axes = axes / deviation[:, None] ** power
    videos = len(principal_axes)
    projected, squares = torch.empty(videos, used, dtype=torch.float64), 0.0
    for start, rows in principal_axes.rows():
        along = rows @ axes.T
        squares += float(along.square().sum())
        projected[start : start + len(rows)] = along[:, :used]
    # One number, so that embedded videos are about as long as those of the usual initialization.
    scale = math.sqrt(videos * len(axes) / squares) if squares else 1.0
    rotation = train_itq((projected * scale).numpy(), bits=bits, seed=seed).projection

    for parameter in (*hasher.embedding.parameters(), *hasher.hash_layer.linear.parameters()):
        nn.init.zeros_(parameter)
    hasher.embedding.weight[: len(axes)] = (scale * axes).float()
    hasher.embedding.bias[: len(axes)] = (-scale * (axes @ principal_axes.centre)).float()
    hasher.hash_layer.linear.weight[:, :used] = torch.from_numpy(rotation.T)
    for block in hasher.encoder.blocks:
        assert isinstance(block, Block)
        for last in block.last_layers():
            for parameter in last.parameters():
                nn.init.zeros_(parameter)
