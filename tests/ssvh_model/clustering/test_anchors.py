from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ssvh_model.clustering.anchors import Granularity, load_anchors, make_anchors, save_anchors
from ssvh_model.errors import UserError

SETTINGS = {
    "iterations": 20,
    "restarts": 3,
    "points_per_centroid": 200,
    "mean_concentration": 0.2,
    "centres": "voting",
    "seed": 4,
}


def groups(per_group: int = 12, bits: int = 16) -> torch.Tensor:
    """Soft codes around three centres, row i of group i % 3."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.where(torch.rand(3, bits, generator=generator) > 0.5, 0.8, -0.8)
    rows = torch.arange(3 * per_group) % 3
    return centres[rows] + 0.1 * torch.randn(3 * per_group, bits, generator=generator)


def test_each_group_becomes_a_cluster_with_its_majority_as_anchor() -> None:
    soft = groups()
    (clusters,) = make_anchors(soft, [3], **SETTINGS)
    assert clusters.sizes.tolist() == [12, 12, 12]
    for row in range(len(soft)):
        assert clusters.assignments[row] == clusters.assignments[row % 3]
        torch.testing.assert_close(
            clusters.anchors[clusters.assignments[row]], torch.where(soft[row % 3] >= 0, 1.0, -1.0)
        )
    assert clusters.concentration.mean().item() == pytest.approx(0.2, rel=1e-5)


def test_centres_by_kmeans_are_the_centroids_and_no_codes() -> None:
    soft = groups()
    (voted,) = make_anchors(soft, [3], **SETTINGS)
    (kmeans,) = make_anchors(soft, [3], **{**SETTINGS, "centres": "kmeans"})
    assert torch.equal(voted.assignments, kmeans.assignments)
    assert set(voted.anchors.unique().tolist()) == {-1.0, 1.0}
    points = torch.nn.functional.normalize(soft, dim=1)
    for cluster in range(3):
        centroid = points[kmeans.assignments == cluster].mean(dim=0)
        torch.testing.assert_close(kmeans.anchors[cluster], centroid / centroid.norm(), atol=1e-5, rtol=1e-4)


def test_several_counts_at_once_and_the_same_seed_gives_the_same_anchors() -> None:
    first, second = (make_anchors(groups(), [2, 5, 9], **SETTINGS) for _ in range(2))
    assert [len(clusters.anchors) for clusters in first] == [2, 5, 9]
    for left, right in zip(first, second, strict=True):
        assert torch.equal(left.anchors, right.anchors)
        assert torch.equal(left.assignments, right.assignments)


def test_more_clusters_than_videos_is_one_clear_line() -> None:
    with pytest.raises(
        UserError, match=r"clusters 40 is more than the 36 training videos; allowed are 1 to 36"
    ):
        make_anchors(groups(), [40], **SETTINGS)


def test_anchors_survive_the_file(tmp_path: Path) -> None:
    made = make_anchors(groups(), [2, 3], **SETTINGS)
    path = tmp_path / "anchors.safetensors"
    save_anchors(path, made)
    for left, right in zip(made, load_anchors(path), strict=True):
        for name in Granularity.__dataclass_fields__:
            assert torch.equal(getattr(left, name), getattr(right, name))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="not a readable anchors file"):
        load_anchors(path)
