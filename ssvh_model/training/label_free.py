"""A score of codes that needs no labels, for trained states and their starts.

What a start from ITQ sees in a corpus (`ssvh_model.training.initialization.choose_start`) is the reference.
Good codes have clusters that agree with clusters of the reference, also where each is made from another half
of the frames; they keep the reference's near neighbours; and they do not tell single videos apart, which is
what the contrast of views leads to where it goes too far. No one of the three goes with GMAP on all corpora,
their product does (docs/explanation/quality.md). Codes of chance and collapsed ones have 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ssvh_model.model.hasher import VideoHasher
from ssvh_model.retrieval.codes import sign_codes
from ssvh_model.training.agreement import agreement_of_points, halves_of
from ssvh_model.training.encoding import encode
from ssvh_model.training.frame_source import FrameSource

NEIGHBOURS = 10
DIVISIONS = 4  # of the videos into halves, a count of clusters
SAMPLES = 40  # of half of the videos, for an interval


@dataclass(frozen=True)
class Views:
    """The same videos seen three times: whole, by their first and by their second half of frames.

    Attributes:
        whole, first, second: [n, K], codes in {-1, +1} or real values.
    """

    whole: np.ndarray
    first: np.ndarray
    second: np.ndarray

    def of(self, rows: np.ndarray) -> Views:
        """Some of the videos."""
        return Views(self.whole[rows], self.first[rows], self.second[rows])

    def codes(self) -> Views:
        """The signs of real values."""
        return Views(*(sign_codes(values) for values in (self.whole, self.first, self.second)))


def seen_by(
    hasher: VideoHasher,
    videos: FrameSource,
    *,
    batch_size: int,
    device: torch.device,
    compressed: bool = True,
) -> Views:
    """Soft codes of videos and of their halves; arguments as of `encode`."""
    parts = (slice(None), *halves_of(hasher.config.frames))
    return Views(
        *(
            encode(
                hasher, videos, batch_size=batch_size, device=device, frames=part, compressed=compressed
            ).numpy()
            for part in parts
        )
    )


def label_free_score(codes: Views, reference: Views, *, seed: int) -> float:
    """Agreement of clusters, times share of neighbours kept, times 1 less the mean reciprocal rank of a
    video's other half; 0 to 1.

    Args:
        codes: in {-1, +1}, n >= 2 videos.
        reference: soft codes of the same videos by the start.
        seed: of the divisions and of k-means.
    """
    whole, first, second = (
        _directions(values) for values in (reference.whole, reference.first, reference.second)
    )
    agreement = np.mean(
        [
            agreement_of_points(_points(half), other, divisions=DIVISIONS, seed=seed)
            for half, other in ((codes.first, second), (codes.second, first))
        ]
    )
    own = _reciprocal_ranks(codes.first, codes.second).mean()
    return float(max(float(agreement), 0.0) * _neighbours_kept(codes.whole, whole) * (1 - own))


def score_differences(codes: Views, other: Views, reference: Views, *, seed: int) -> np.ndarray:
    """The score of `codes` less that of `other` on random halves of the videos, [SAMPLES] float64.

    Drawn without replacement, halves differ from each other as much as resamples of a bootstrap do (Efron and
    Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 10; Politis and Romano, 1994), and no video
    is its own neighbour.
    """
    generator = np.random.default_rng(seed)
    videos = len(codes.whole)
    found = []
    for number in range(SAMPLES):
        rows = generator.permutation(videos)[: videos // 2]
        one, two = (
            label_free_score(side.of(rows), reference.of(rows), seed=seed + number) for side in (codes, other)
        )
        found.append(one - two)
    return np.array(found)


def _points(codes: np.ndarray) -> Tensor:
    return torch.from_numpy(codes / np.sqrt(codes.shape[1])).float()


def _directions(values: np.ndarray) -> Tensor:
    """From the mean, of length 1."""
    centred = torch.from_numpy(values.astype(np.float32))
    centred = centred - centred.mean(dim=0)
    return torch.nn.functional.normalize(centred, dim=1)


def _neighbours_kept(codes: np.ndarray, reference: Tensor) -> float:
    """Share of the reference's nearest videos that are among as many nearest by the codes; of equally near
    ones, each counts in part.
    """
    count = min(NEIGHBOURS, len(codes) - 1)
    values = torch.from_numpy(codes).float()
    alike, by_reference = values @ values.T, reference @ reference.T
    for one in (alike, by_reference):
        one.fill_diagonal_(-torch.inf)
    nearest = by_reference.topk(count, dim=1).indices
    last = alike.topk(count, dim=1).values[:, -1:]  # how alike the last one is that is among the nearest
    nearer, equal = (alike > last).sum(dim=1, keepdim=True), (alike == last).sum(dim=1, keepdim=True)
    found = alike.gather(1, nearest)
    kept = torch.where(found > last, 1.0, torch.where(found == last, (count - nearer) / equal, 0.0))
    return float(kept.mean())


def _reciprocal_ranks(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """1 / rank of a video's second half, asked with its first one; of equally near ones, half come before
    it.
    """
    alike = torch.from_numpy(first).float() @ torch.from_numpy(second).float().T  # K less twice the distance
    own = alike.diagonal()[:, None]
    before = (alike > own).sum(dim=1) + ((alike == own).sum(dim=1) - 1) / 2
    return (1 / (1 + before.double())).numpy()
