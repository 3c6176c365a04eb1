"""Codes that were trained longer than they are asked for, made shorter."""

from __future__ import annotations

import torch
from torch import Tensor

from ssvh_model.model.hasher import VideoHasher
from ssvh_model.retrieval.itq import train_itq


def training_bits_by_length(bits: int) -> int | None:
    """K' for codes of K `bits`: twice as long, but none up to 16 bits, which lose more than they gain.

    Found on training clips of few recordings (benchmarks/README.md).
    """
    return None if bits <= 16 else 2 * bits


@torch.no_grad()
def learn_compression(hasher: VideoHasher, trained_codes: Tensor, *, seed: int) -> None:
    """Set the compression of `hasher` to ITQ of the training videos' codes: their K strongest axes, rotated
    towards signs.

    What training has made videos of one kind share is strong in the trained values; the weak axes hold what
    is left of single videos, and a code that is trained short has to share its few bits with them. Not in the
    paper; ITQ is Gong and Lazebnik's (CVPR 2011), on features that are learnt instead of given.

    Args:
        hasher: with `training_bits`; nothing but its compression changes.
        trained_codes: soft codes of the training videos, as long as they are trained, [n, K'], n >= 2.
        seed: of ITQ's first rotation.

    Raises:
        ValueError: the hasher has no compression, or there are fewer than two videos.
    """
    if hasher.compression is None:
        raise ValueError("this hasher is trained at its own length: training_bits is None")
    itq = train_itq(trained_codes.numpy(), bits=hasher.config.bits, seed=seed)
    hasher.compression.mean.copy_(torch.from_numpy(itq.mean))
    hasher.compression.projection.copy_(torch.from_numpy(itq.projection))
