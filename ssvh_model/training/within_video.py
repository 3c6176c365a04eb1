"""What differs between the frames of one video, and features in which that counts no more in one direction
than in another.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ssvh_model.model.hasher import VideoHasher
from ssvh_model.training.centering import centered_batches
from ssvh_model.training.frame_source import FrameSource

# Frames that differ by less than this share of what videos are made of are the same frame with rounding
# errors.
LEAST_SCATTER = 1e-9


@dataclass(frozen=True)
class WithinVideoScatter:
    """How the frames of videos scatter about their videos' means.

    Attributes:
        basis: orthonormal directions that are looked at, [r, D] float64.
        variance: along each of the main directions of the scatter, [r] float64; None if the videos are
            stills.
        directions: those, in terms of the basis, a column each, [r, r] float64.
    """

    basis: Tensor
    variance: Tensor | None
    directions: Tensor

    def whitening(self, shrinkage: float) -> Tensor:
        """A linear map after which the frames of a video scatter equally in all directions.

        Within-class covariance normalization (Hatch, Kajarekar and Stolcke, Interspeech 2006) with every
        video as a class of its own, which needs no labels: what changes within seconds of one recording, such
        as a moving hand or flicker, does not tell videos apart.

        Args:
            shrinkage: times the mean variance of a direction is added to every direction: the more, the less
                the directions are evened out.

        Returns:
            [r, D] float64; the basis itself if the videos are stills.
        """
        if self.variance is None:
            return self.basis
        evened = self.variance.clamp(min=0) + shrinkage * self.variance.mean()
        # The symmetric root, because the signs of eigenvectors depend on rounding.
        return (self.directions / evened.sqrt()) @ self.directions.T @ self.basis


def scatter_within_videos(
    hasher: VideoHasher, videos: FrameSource, basis: Tensor, *, batch_size: int
) -> WithinVideoScatter:
    """The scatter of the frames of videos.

    Args:
        hasher: centres the features.
        videos: the training videos.
        basis: orthonormal directions to stay in, [r, D] float64.
        batch_size: videos in memory at a time.
    """
    scatter, frames, total = torch.zeros(len(basis), len(basis), dtype=torch.float64), 0, 0.0
    for features in centered_batches(hasher, videos, batch_size):
        deviations = (features - features.mean(dim=1, keepdim=True)).flatten(0, 1).cpu().double()
        within = deviations @ basis.T
        scatter += within.T @ within
        frames += len(within)
        total += float(features.square().sum())
    if scatter.trace() <= LEAST_SCATTER * total:
        return WithinVideoScatter(basis, None, torch.eye(len(basis), dtype=torch.float64))
    return WithinVideoScatter(basis, *torch.linalg.eigh(scatter / frames))
