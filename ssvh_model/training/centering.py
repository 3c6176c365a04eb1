"""Centre and scale of the training features."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ssvh_model.model.hasher import VideoHasher
from ssvh_model.training.frame_source import FrameSource


@torch.no_grad()
def learn_center(hasher: VideoHasher, videos: FrameSource, *, batch_size: int) -> None:
    """Set the mean and scale by which `hasher` centres features: those of all frames of `videos`.

    Features after a ReLU are all positive, so uncentred ones differ by small angles only, and the hash layer
    spends its first epochs on finding the common offset. The scale is one number, the root mean square of
    what is left, so that the reconstruction loss counts about the same whatever the backbone; the proportions
    of the dimensions stay as they are. Not in the paper.
    """
    _, _, size = videos.fetch(np.arange(1)).shape
    total, squares, frames = torch.zeros(size, dtype=torch.float64), 0.0, 0
    for start in range(0, len(videos), batch_size):
        index = np.arange(start, min(start + batch_size, len(videos)))
        features = videos.fetch(index).double().flatten(0, 1)
        total += features.sum(dim=0)
        squares += features.square().sum().item()
        frames += len(features)
    mean = total / frames
    variance = squares / (frames * size) - mean.square().mean().item()
    hasher.feature_mean.copy_(mean)
    # Constant features have no spread; dividing by 1 leaves them 0.
    hasher.feature_scale.fill_(max(variance, 0.0) ** 0.5 or 1.0)


def centered_batches(hasher: VideoHasher, videos: FrameSource, batch_size: int) -> Iterator[Tensor]:
    """The features of all videos as `hasher` centres them, a batch at a time: [b, M, D] float32, on the
    hasher's device.
    """
    for start in range(0, len(videos), batch_size):
        index = np.arange(start, min(start + batch_size, len(videos)))
        yield hasher.center(videos.fetch(index).to(hasher.feature_mean.device).float())
