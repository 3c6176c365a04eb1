"""What differs between the frames of one video, and features in which that counts no more in one direction
than in another.
"""

from __future__ import annotations

import numpy as np

from ssvh_model.model.hasher import VideoHasher
from ssvh_model.training.centering import centered_batches
from ssvh_model.training.frame_source import FrameSource

# Frames that differ by less than this share of what videos are made of are the same frame with rounding
# errors.
LEAST_SCATTER = 1e-9


def within_video_whitening(
    hasher: VideoHasher, videos: FrameSource, basis: np.ndarray, *, shrinkage: float, batch_size: int
) -> np.ndarray:
    """A linear map after which the frames of a video scatter equally in all directions.

    Within-class covariance normalization (Hatch, Kajarekar and Stolcke, Interspeech 2006) with every video as
    a class of its own, which needs no labels: what changes within seconds of one recording, such as a moving
    hand or flicker, does not tell videos apart.

    Args:
        hasher: centres the features.
        videos: the training videos.
        basis: orthonormal directions to stay in, [r, D].
        shrinkage: times the mean variance of a direction is added to every direction: the more, the less the
            directions are evened out.
        batch_size: videos in memory at a time.

    Returns:
        [r, D] float64; `basis` itself if the videos are stills.
    """
    scatter, frames, total = np.zeros((len(basis), len(basis))), 0, 0.0
    for features in centered_batches(hasher, videos, batch_size):
        deviations = (features - features.mean(dim=1, keepdim=True)).flatten(0, 1).cpu().double().numpy()
        within = deviations @ basis.T
        scatter += within.T @ within
        frames += len(within)
        total += float(features.square().sum())
    if np.trace(scatter) <= LEAST_SCATTER * total:
        return basis
    variance, directions = np.linalg.eigh(scatter / frames)
    evened = np.maximum(variance, 0) + shrinkage * variance.mean()
    # The symmetric root, because the signs of eigenvectors depend on rounding.
    return np.asarray((directions / np.sqrt(evened)) @ directions.T @ basis)
