"""L_FR, the frame reconstruction loss."""

from __future__ import annotations

from torch import Tensor


def reconstruction_loss(errors: Tensor, weights: Tensor) -> Tensor:
    """Mean squared error over the hidden frames of one view, a scalar (method, section 4).

    Args:
        errors: [B, M], mean squared error of each frame.
        weights: [B, M], the selection weights, 1 at visible frames. The loss depends on the choice of frames
            through them: hiding a frame adds its error.
    """
    hidden = 1 - weights
    return (hidden * errors).sum() / hidden.detach().sum()
