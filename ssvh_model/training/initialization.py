"""Starting weights that hash well before the first step: ITQ of whitened features, written into the hasher."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from torch import nn

from ssvh_model.errors import UserError
from ssvh_model.model.hasher import VideoHasher
from ssvh_model.model.transformer import Block
from ssvh_model.retrieval.itq import train_itq
from ssvh_model.training.centering import centered_batches
from ssvh_model.training.frame_source import FrameSource
from ssvh_model.training.within_video import within_video_whitening

# Directions with less than this share of the largest variance are noise of float16.
LEAST_VARIANCE = 1e-6

Whitening = float | Literal["by_length"]


def whitening_by_length(bits: int) -> float:
    """Whitening for codes of K `bits`: 1 up to 16 bits, 0.5 from 64 on, linear in log2(K) between.

    K bits begin with the K strongest axes. The first few tell recordings apart rather than kinds and are much stronger than the rest, which only more bits
    outvote. Found on training clips of few recordings (benchmarks/README.md).
    """
    return min(1.0, max(0.5, 1 - math.log2(bits / 16) / 4))


@torch.no_grad()
def start_from_itq(
    hasher: VideoHasher,
    videos: FrameSource,
    *,
    whitening: Whitening,
    within_video: float | None,
    seed: int,
    batch_size: int,
) -> None:
    """Write an iterative quantisation of the training videos into `hasher`; training goes on from there. Not in the paper.

    A network of random weights needs thousands of videos to come as far as ITQ does in a second, and on a few hundred it may never
    get there. The embedding becomes the principal axes of the videos' mean features, each divided by its standard deviation to the
    power of `whitening`; the hash layer becomes ITQ's rotation of the first K of them; the last layer of every residual branch
    becomes 0 (Zhang et al., "Fixup Initialization", ICLR 2019), so that the encoder passes frames on until it has learnt better.

    Args:
        hasher: its centre and scale are those that the features will have (`learn_center` comes first).
        videos: the training videos.
        whitening: 0 keeps the proportions of the axes (plain PCA), 1 makes all equally strong; "by_length" is `whitening_by_length`.
        within_video: shrinkage of a whitening of what changes within videos, which comes first (`within_video_whitening`); None for none.
        seed: of ITQ's first rotation.
        batch_size: videos in memory at a time.

    Raises:
        UserError: more bits than the features of these videos have directions.
    """
    means = _mean_features(hasher, videos, batch_size)
    centre = means.mean(axis=0)
    if within_video is None:
        axes, deviation = _principal_axes(means - centre, most=hasher.config.width)
    else:
        basis, _ = _principal_axes(means - centre, most=len(means))
        evened = within_video_whitening(hasher, videos, basis, shrinkage=within_video, batch_size=batch_size)
        axes, deviation = _principal_axes((means - centre) @ evened.T, most=hasher.config.width)
        axes = axes @ evened
    bits = hasher.config.trained_bits
    if bits > len(axes):
        key = "model.bits" if hasher.config.training_bits is None else "model.training_bits"
        raise UserError(
            f"model.start: itq makes at most {len(axes)} bits from {len(means)} training videos with {hasher.config.feature_size} "
            f"features and model.width {hasher.config.width}, not {bits}; allowed are fewer {key}, or model.start: random"
        )
    power = whitening_by_length(bits) if whitening == "by_length" else whitening
    axes = axes / deviation[:, None] ** power
    projected = (means - centre) @ axes.T
    # One number, so that embedded videos are about as long as those of the usual initialization.
    scale = 1 / np.sqrt(np.square(projected).mean())
    rotation = train_itq((projected * scale)[:, :bits], bits=bits, seed=seed).projection

    for parameter in (*hasher.embedding.parameters(), *hasher.hash_layer.linear.parameters()):
        nn.init.zeros_(parameter)
    hasher.embedding.weight[: len(axes)] = _tensor(scale * axes)
    hasher.embedding.bias[: len(axes)] = _tensor(-scale * (axes @ centre))
    hasher.hash_layer.linear.weight[:, :bits] = _tensor(rotation.T)
    for block in hasher.encoder.blocks:
        assert isinstance(block, Block)
        for last in (block.attention.project, block.mlp[-1]):
            for parameter in last.parameters():
                nn.init.zeros_(parameter)


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def _mean_features(hasher: VideoHasher, videos: FrameSource, batch_size: int) -> np.ndarray:
    """Centred features of all videos averaged over their frames, [n, D] float64."""
    parts = [
        features.mean(dim=1).cpu().double().numpy()
        for features in centered_batches(hasher, videos, batch_size)
    ]
    return np.concatenate(parts)


def _principal_axes(centred: np.ndarray, *, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Directions of largest variance, [r, D], and the standard deviation along each, [r]; r is at most `most`."""
    videos, size = centred.shape
    if videos < size:
        # The Gram matrix of the videos has the same eigenvalues, and is the smaller one.
        variance, vectors = np.linalg.eigh(centred @ centred.T / videos)
        vectors = centred.T @ vectors
    else:
        variance, vectors = np.linalg.eigh(centred.T @ centred / videos)
    order = np.argsort(variance)[::-1][:most]
    order = order[variance[order] > LEAST_VARIANCE * variance.max()]
    axes = vectors[:, order].T
    return axes / np.linalg.norm(axes, axis=1, keepdims=True), np.sqrt(variance[order])
