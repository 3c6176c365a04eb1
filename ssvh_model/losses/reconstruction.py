"""L_FR, the frame reconstruction loss."""

from __future__ import annotations

from torch import Tensor


def frame_errors(reconstruction: Tensor, features: Tensor) -> Tensor:
    """Mean squared error of each frame, [B, M, D] and [B, M, D] -> [B, M]."""
    return (reconstruction - features).square().mean(dim=-1)


def reconstruction_loss(reconstruction: Tensor, features: Tensor, weights: Tensor) -> Tensor:
    """`hidden_frame_loss` of reconstructed features.

    Args:
        reconstruction: [B, M, D], what the decoder made.
        features: [B, M, D], the true features.
        weights: [B, M], the selection weights.
    """
    return hidden_frame_loss(frame_errors(reconstruction, features), weights)


def hidden_frame_loss(errors: Tensor, weights: Tensor) -> Tensor:
    """Mean squared error over the hidden frames of one view, a scalar (method, section 4).

    Args:
        errors: [B, M], of each frame.
        weights: [B, M], the selection weights, 1 at visible frames. The loss depends on the choice of frames through
            them: hiding a frame adds its error.
    """
    hidden = 1 - weights
    return (hidden * errors).sum() / hidden.detach().sum()
