"""Principal axes of videos, as they are or with what changes within videos evened out."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from ssvh_model.model.hasher import VideoHasher
from ssvh_model.training.centering import centered_batches
from ssvh_model.training.frame_source import FrameSource
from ssvh_model.training.within_video import WithinVideoScatter, scatter_within_videos

# Directions with less than this share of the largest variance are noise of float16.
LEAST_VARIANCE = 1e-6
ROWS_AT_ONCE = 1024  # in float64


class PrincipalAxes:
    """Directions of largest variance of the mean features of videos.

    What several starts from ITQ have in common is worked out once, when it is first asked for.

    Args:
        hasher: centres the features; its centre and scale must stay as they are.
        videos: the training videos.
        batch_size: videos in memory at a time.
    """

    def __init__(self, hasher: VideoHasher, videos: FrameSource, *, batch_size: int) -> None:
        self._hasher, self._videos, self._batch_size = hasher, videos, batch_size
        self._found: dict[tuple[int, float | None], tuple[Tensor, Tensor]] = {}

    def __len__(self) -> int:
        """Number of videos."""
        return len(self._videos)

    @cached_property
    def means(self) -> Tensor:
        """Centred features of all videos averaged over their frames, [n, D] float32, on the CPU."""
        means, start = torch.empty(len(self), self._hasher.config.feature_size), 0
        for features in centered_batches(self._hasher, self._videos, self._batch_size):
            means[start : start + len(features)] = features.mean(dim=1).cpu()
            start += len(features)
        return means

    @cached_property
    def centre(self) -> Tensor:
        """The mean of `means`, [D] float64."""
        return self.means.mean(dim=0, dtype=torch.float64)

    def rows(self) -> Iterator[tuple[int, Tensor]]:
        """Some of `means` at a time, less the centre, in float64, and the number of the first: all at once
        would take a sixth of the features' memory.
        """
        for start in range(0, len(self), ROWS_AT_ONCE):
            yield start, self.means[start : start + ROWS_AT_ONCE] - self.centre

    @torch.no_grad()
    def strongest(self, most: int, *, within_video: float | None) -> tuple[Tensor, Tensor]:
        """Directions, strongest first, and the standard deviation of the videos along each.

        Args:
            most: directions.
            within_video: shrinkage of a whitening of what changes within videos, which comes first
                (`WithinVideoScatter`); None for none.

        Returns:
            [r, D] and [r] float64, r at most `most`.
        """
        if (most, within_video) not in self._found:
            if within_video is None:
                self._found[most, None] = self._along(None, most)
            else:
                evened = self._scatter.whitening(within_video)
                axes, deviation = self._along(evened, most)
                self._found[most, within_video] = axes @ evened, deviation
        return self._found[most, within_video]

    @cached_property
    def _scatter(self) -> WithinVideoScatter:
        basis, _ = self._along(None, len(self))
        return scatter_within_videos(self._hasher, self._videos, basis, batch_size=self._batch_size)

    def _along(self, basis: Tensor | None, most: int) -> tuple[Tensor, Tensor]:
        """Directions [r, s] of the rows that a `basis` [s, D] makes, and the deviation along each, [r]."""
        size = self.means.shape[1] if basis is None else len(basis)
        if len(self) < size:
            # The Gram matrix of the videos has the same eigenvalues, and is the smaller one.
            rows = self.means - self.centre
            rows = rows if basis is None else rows @ basis.T
            variance, vectors = torch.linalg.eigh(rows @ rows.T / len(self))
            vectors = rows.T @ vectors
        else:
            covariance = torch.zeros(size, size, dtype=torch.float64)
            for _, rows in self.rows():
                rows = rows if basis is None else rows @ basis.T
                covariance += rows.T @ rows
            variance, vectors = torch.linalg.eigh(covariance / len(self))
        order = variance.argsort(descending=True)[:most]
        # `order[:1]` is the greatest; there is none where videos are all the same.
        order = order[variance[order] > LEAST_VARIANCE * variance[order[:1]]]
        axes = vectors[:, order].T
        return axes / axes.norm(dim=1, keepdim=True), variance[order].sqrt()
