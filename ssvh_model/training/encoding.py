"""Codes of many videos."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ssvh_model.model.hasher import VideoHasher
from ssvh_model.progress import Progress, no_progress
from ssvh_model.training.frame_source import FrameSource
from ssvh_model.training.ranks import ALONE, Ranks


@torch.no_grad()
def encode(
    hasher: VideoHasher,
    videos: FrameSource,
    *,
    batch_size: int,
    device: torch.device,
    compressed: bool = True,
    frames: slice = slice(None),
    progress: Progress = no_progress,
    ranks: Ranks = ALONE,
) -> Tensor:
    """Soft codes [n, K] float32 on the CPU, all `frames` visible, no noise; their sign is the code.

    Not `compressed`, they are as long as they are trained, [n, K'].
    Processes that train together share the batches out; each has all codes in the end.
    """
    was_training = hasher.training
    hasher.eval()
    make = hasher if compressed else hasher.trained_codes
    codes = torch.zeros(len(videos), hasher.config.bits if compressed else hasher.config.trained_bits)
    for number, start in enumerate(range(0, len(videos), batch_size)):
        if number % ranks.count != ranks.own:
            continue
        index = np.arange(start, min(start + batch_size, len(videos)))
        codes[start : index[-1] + 1] = make(videos.fetch(index).to(device).float(), frames).cpu()
        progress(int(index[-1]) + 1, len(videos))
    hasher.train(was_training)
    return ranks.add_up(codes.to(device)).cpu()
