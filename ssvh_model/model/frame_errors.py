"""How far reconstructed frame features are from the true ones."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ssvh_model.model.precision import full_precision

FrameError = Literal["squared", "cosine"]


def frame_errors(reconstruction: Tensor, features: Tensor, error: FrameError) -> Tensor:
    """Error of each frame's reconstruction, [n B, M].

    "squared": mean squared difference over the D values. "cosine": 1 less the cosine, which leaves the length
    out (WSCH, anon271/WSCH@5ca3ff3).

    Args:
        reconstruction: [n B, M, D], or [n B, 1, D] where all frames of a video have one; n views of each
            video, one view after the other.
        features: true ones, [B, M, D].
        error: which.
    """
    made = reconstruction.unflatten(0, (-1, len(features)))  # [n, B, M or 1, D]
    if error == "squared":
        return (made - features).square().mean(dim=-1).flatten(0, 1)
    with torch.autocast(features.device.type, enabled=False):  # a cosine near 1 needs the digits
        made, features = full_precision(made), full_precision(features)
        lengths = torch.linalg.vector_norm(made, dim=-1) * torch.linalg.vector_norm(features, dim=-1)
        products = (
            torch.einsum("nbd,bmd->nbm", made[:, :, 0], features)
            if made.shape[2] == 1
            else torch.einsum("nbmd,bmd->nbm", made, features)
        )
        return (1 - products / lengths.clamp(min=1e-8)).flatten(0, 1)
