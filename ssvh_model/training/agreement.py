"""How well clusterings of two halves agree: a figure without labels that goes with how well codes tell kinds
apart.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ssvh_model.clustering.kmeans import kmeans
from ssvh_model.model.hasher import VideoHasher
from ssvh_model.retrieval.codes import sign_codes
from ssvh_model.training.encoding import encode
from ssvh_model.training.frame_source import FrameSource

MOST_VIDEOS = 2000  # that are looked at
LEAST_VIDEOS = 64  # of fewer, clusterings of halves agree by chance or not
CLUSTERS = (16, 32)
DIVISIONS = 6  # of the videos into halves, a count of clusters
ITERATIONS, RESTARTS = 20, 2  # of k-means


def code_agreement(
    hasher: VideoHasher, videos: FrameSource, *, batch_size: int, device: torch.device, seed: int
) -> float | None:
    """`cluster_agreement` of the codes of the first and the second halves of the videos; None for fewer than
    `LEAST_VIDEOS`.

    Args:
        hasher: on `device`.
        videos: of them at most `MOST_VIDEOS`, evenly over all.
        batch_size: videos at once.
        seed: of the divisions and of k-means.
    """
    if len(videos) < LEAST_VIDEOS:
        return None
    videos = some_videos(videos)
    first, second = (
        sign_codes(encode(hasher, videos, batch_size=batch_size, device=device, frames=half).numpy())
        for half in halves_of(hasher.config.frames)
    )
    return cluster_agreement(first, second, seed=seed)


def halves_of(frames: int) -> tuple[slice, slice]:
    """The first and the last half of so many frames; of a single one, both are that."""
    half = max(1, frames // 2)
    return slice(0, half), slice(frames - half, frames)


def some_videos(videos: FrameSource) -> FrameSource:
    """At most `MOST_VIDEOS` of them, evenly over all: neighbours in a file may be of one kind."""
    if len(videos) <= MOST_VIDEOS:
        return videos
    rows = some_rows(len(videos))
    return FrameSource([videos.ids[row] for row in rows], lambda index: videos.fetch(rows[index]))


def some_rows(videos: int) -> np.ndarray:
    """Which of so many videos `some_videos` takes, [n] int64."""
    return np.linspace(0, videos - 1, min(videos, MOST_VIDEOS)).astype(np.int64)


def cluster_agreement(first: np.ndarray, second: np.ndarray, *, seed: int) -> float:
    """How much the clusters of one half's codes are those of the other's, about 0 for chance, 1 for the same
    clusters.

    Half of the videos are clustered by their `first` codes, the others by their `second` ones; then all
    videos are assigned to both clusterings, which have neither videos nor frames in common. What agrees is
    there in other videos, too, and lasts through a video, as a kind does. The mean over divisions and counts
    of clusters (stability of clusterings: Lange et al., Neural Computation 2004).

    Args:
        first, second: codes in {-1, +1} of the same videos, [n, K] int8 each, n >= 2.
        seed: of the divisions and of k-means.
    """
    points = [torch.from_numpy(codes / np.sqrt(codes.shape[1])).float() for codes in (first, second)]
    return agreement_of_points(*points, divisions=DIVISIONS, seed=seed)


def agreement_of_points(first: Tensor, second: Tensor, *, divisions: int, seed: int) -> float:
    """The same of any points of the same videos, [n, K] and [n, K'] float32, over so many divisions a count
    of clusters.
    """
    generator = np.random.default_rng(seed)
    scores = []
    for count in CLUSTERS:
        for division in range(divisions):
            order = generator.permutation(len(first))
            middle = len(order) // 2
            assigned = [
                _assigned(one, one[part], min(count, len(part)), seed + division)
                for one, part in zip((first, second), (order[:middle], order[middle:]), strict=True)
            ]
            scores.append(adjusted_mutual_information(*assigned))
    return float(np.mean(scores))


def _assigned(points: Tensor, some: Tensor, count: int, seed: int) -> np.ndarray:
    centroids = kmeans(
        some, count, iterations=ITERATIONS, restarts=RESTARTS, points_per_centroid=256, seed=seed
    ).centroids
    return torch.cdist(points, centroids).argmin(dim=1).numpy()


def adjusted_mutual_information(first: np.ndarray, second: np.ndarray) -> float:
    """Mutual information of two clusterings, less what chance gives, over the most that it could be; 1 for
    the same clusters.

    Vinh, Epps and Bailey, "Information Theoretic Measures for Clusterings Comparison", JMLR 2010, with the
    mean of the entropies.

    Args:
        first, second: the cluster of each point, [n] int64, from 0.
    """
    n = len(first)
    table = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(table, (first, second), 1)
    table = table[table.any(axis=1)][:, table.any(axis=0)]
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    entropy = sum(-(sizes / n * np.log(sizes / n)).sum() for sizes in (rows, columns)) / 2
    if entropy == 0:
        return 1.0  # one cluster on both sides
    outer = rows[:, None] * columns[None]
    information = np.sum(table * np.log(np.where(table > 0, table, 1) * n / outer)) / n
    expected = _expected_information(rows, columns, n)
    return float((information - expected) / (entropy - expected))


def _expected_information(rows: np.ndarray, columns: np.ndarray, n: int) -> float:
    """The mean over all clusterings with these sizes: members in common are hypergeometrically
    distributed.
    """
    a, b = (torch.from_numpy(sizes) for sizes in (rows, columns))
    a, b = a[:, None, None], b[None, :, None]
    common = torch.arange(1, int(min(rows.max(), columns.max())) + 1, dtype=torch.float64)
    possible = (common <= a) & (common <= b) & (common >= a + b - n)

    def ln_factorial(of: Tensor) -> Tensor:
        return torch.lgamma(of.clamp(min=0) + 1)

    whole = torch.tensor(float(n), dtype=torch.float64)
    chance = (
        ln_factorial(a) + ln_factorial(b) + ln_factorial(n - a) + ln_factorial(n - b)
        - ln_factorial(whole) - ln_factorial(common) - ln_factorial(a - common) - ln_factorial(b - common)
        - ln_factorial(n - a - b + common)
    ).exp()  # fmt: skip
    terms = common / n * torch.log(n * common / (a * b)) * chance
    return float(terms[possible].sum())
