"""Anchors: the hash centres that the point-to-set loss pulls videos to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ssvh_model.clustering.concentration import concentration
from ssvh_model.clustering.kmeans import kmeans
from ssvh_model.clustering.voting import vote
from ssvh_model.errors import UserError
from ssvh_model.files import atomic_path, check_regular
from ssvh_model.model.binarize import sign

Centres = Literal["voting", "kmeans"]
Points = Literal["values", "codes"]
Temperatures = Literal["by_density", "equal"]


@dataclass(frozen=True)
class Granularity:
    """One clustering of the training set.

    Attributes:
        anchors: [C, K] float32, in {-1, +1} or, where they are the k-means centres themselves, of length 1.
        assignments: [N] int64, the cluster of each training video.
        concentration: [C] float32, the temperature phi of each anchor.
    """

    anchors: Tensor
    assignments: Tensor
    concentration: Tensor

    def to(self, device: torch.device) -> Granularity:
        """The same on `device`."""
        return Granularity(
            self.anchors.to(device), self.assignments.to(device), self.concentration.to(device)
        )

    @property
    def sizes(self) -> Tensor:
        """[C] int64, members of each cluster."""
        return torch.bincount(self.assignments, minlength=len(self.anchors))


def make_anchors(
    soft_codes: Tensor,
    cluster_counts: Sequence[int],
    *,
    iterations: int,
    restarts: int,
    points_per_centroid: int,
    mean_concentration: float,
    centres: Centres,
    seed: int,
    points: Points = "values",
    temperatures: Temperatures = "by_density",
    last: Sequence[Granularity] = (),
) -> list[Granularity]:
    """Cluster the training set once for each of `cluster_counts` (method, section 5).

    k-means on the L2-normalised soft codes or their signs, then component voting over the members' codes or
    the centroids as they are. Where `last` has as many clusters, one run begins with these instead of
    `restarts` runs with chance.

    Args:
        soft_codes: [N, K], all training videos with all frames visible.
        iterations, restarts, points_per_centroid, seed: of `kmeans`.
        mean_concentration: mean of the anchors' temperatures phi.
        centres: "voting", component voting; "kmeans", the L2-normalised centroids, which are no codes.
        points: what k-means clusters: "values", the soft codes; "codes", their signs.
        temperatures: "by_density", smaller for denser clusters (`concentration`); "equal", the mean for all
            anchors.
        last: clusterings of the same videos by earlier codes.

    Raises:
        UserError: more clusters than videos.
    """
    soft_codes = soft_codes.detach().float().cpu()
    codes = sign(soft_codes)
    clustered = torch.nn.functional.normalize(codes if points == "codes" else soft_codes, dim=1)
    earlier = {len(clusters.anchors): clusters for clusters in last}
    granularities = []
    for count in cluster_counts:
        if count > len(soft_codes):
            raise UserError(
                f"rounds: clusters {count} is more than the {len(soft_codes)} training videos; allowed are 1 to {len(soft_codes)}"
            )
        found = kmeans(
            clustered,
            count,
            iterations=iterations,
            restarts=restarts,
            points_per_centroid=points_per_centroid,
            seed=seed,
            start=present_centres(clustered, earlier[count]) if count in earlier else None,
        )
        anchors = (
            vote(codes, found.assignments, found.centroids)
            if centres == "voting"
            else torch.nn.functional.normalize(found.centroids, dim=1)
        )
        granularities.append(
            Granularity(
                anchors=anchors,
                assignments=found.assignments,
                concentration=concentration(
                    found.squared_distances, found.assignments, count, mean=mean_concentration
                )
                if temperatures == "by_density"
                else torch.full((count,), mean_concentration),
            )
        )
    return granularities


def possible_counts(counts: Sequence[int], videos: int) -> list[int]:
    """The cluster counts that so many videos allow, each once: one above their number becomes half of it, and
    2 at least.
    """
    return list(dict.fromkeys(count if count <= videos else max(2, videos // 2) for count in counts))


def present_centres(points: Tensor, clusters: Granularity) -> Tensor:
    """Where the clusters of before are by now, [C, K] float32: the mean of their members' present `points`
    [N, K].

    Codes drift while training, and their clusters with them. A cluster without members stays at its anchor.
    """
    clusters = clusters.to(torch.device("cpu"))
    anchors = torch.nn.functional.normalize(clusters.anchors.float(), dim=1)
    sums = torch.zeros_like(anchors).index_add_(0, clusters.assignments, points)
    sizes = clusters.sizes[:, None]
    return torch.where(sizes > 0, sums / sizes.clamp(min=1), anchors)


def pack_granularities(granularities: Sequence[Granularity]) -> dict[str, Tensor]:
    """A flat dictionary of tensors, for a file; `unpack_granularities` is its inverse."""
    return {
        f"{number}.{name}": getattr(clusters, name).cpu().contiguous()
        for number, clusters in enumerate(granularities)
        for name in ("anchors", "assignments", "concentration")
    }


def unpack_granularities(tensors: dict[str, Tensor]) -> list[Granularity]:
    """The inverse of `pack_granularities`.

    Raises:
        KeyError, ValueError: a tensor is missing, or they do not fit together.
    """
    count = len({name.partition(".")[0] for name in tensors})
    granularities = []
    for number in range(count):
        anchors, assignments, phi = (
            tensors[f"{number}.{name}"] for name in ("anchors", "assignments", "concentration")
        )
        fits = (
            anchors.ndim == 2
            and anchors.dtype == phi.dtype == torch.float32
            and assignments.ndim == 1
            and assignments.dtype == torch.int64
            and phi.shape == anchors.shape[:1]
            and (not len(assignments) or 0 <= assignments.min() <= assignments.max() < len(anchors))
        )
        if not fits:
            raise ValueError(f"the parts of clustering {number} do not fit together")
        granularities.append(Granularity(anchors, assignments, phi))
    return granularities


def save_anchors(path: Path, granularities: Sequence[Granularity]) -> None:
    """Write anchors as safetensors, atomically."""
    from safetensors.torch import save_file

    with atomic_path(path) as temporary:
        save_file(pack_granularities(granularities), temporary)


def load_anchors(path: Path) -> list[Granularity]:
    """Read what `save_anchors` wrote.

    Raises:
        UserError: the file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        check_regular(path)
        return unpack_granularities(load_file(path))
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise UserError(f"{path}: not a readable anchors file ({error})") from error
