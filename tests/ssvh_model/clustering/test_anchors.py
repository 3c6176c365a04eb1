from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ssvh_model.clustering.anchors import (
    Granularity,
    load_anchors,
    make_anchors,
    possible_counts,
    present_centres,
    save_anchors,
)
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


def renumbered(clusters: Granularity) -> Granularity:
    """The same clusters in reversed order."""
    return Granularity(
        clusters.anchors.flip(0),
        len(clusters.anchors) - 1 - clusters.assignments,
        clusters.concentration.flip(0),
    )


@pytest.mark.parametrize("centres", ["voting", "kmeans"])
def test_clusters_go_on_from_the_last_ones_of_their_count(centres: str) -> None:
    settings = {**SETTINGS, "centres": centres}
    before = make_anchors(groups(), [3, 5], **settings)
    drifted = groups() + 0.05 * torch.randn(36, 16, generator=torch.Generator().manual_seed(1))
    last = [renumbered(clusters) for clusters in before]
    three, four = make_anchors(drifted, [3, 4], **settings, last=last)
    assert torch.equal(three.assignments, last[0].assignments), "each cluster keeps its number"
    for cold in make_anchors(drifted, [3], **settings):
        assert not torch.equal(three.assignments, cold.assignments)
        torch.testing.assert_close(three.anchors, renumbered(cold).anchors)
        torch.testing.assert_close(three.concentration, renumbered(cold).concentration)
    (alone,) = make_anchors(drifted, [4], **settings)
    assert torch.equal(four.anchors, alone.anchors), "none of its count, so by chance as ever"


def test_present_centres_are_the_members_means_and_anchors_where_there_are_none() -> None:
    points = torch.nn.functional.normalize(groups(), dim=1)
    anchors = torch.where(torch.rand(4, 16, generator=torch.Generator().manual_seed(2)) > 0.5, 1.0, -1.0)
    clusters = Granularity(anchors, torch.arange(36) % 3, torch.ones(4))
    found = present_centres(points, clusters)
    expected = [points[number::3].mean(dim=0) for number in range(3)] + [anchors[3] / 4]
    torch.testing.assert_close(found, torch.stack(expected))


def test_counts_above_the_number_of_videos_become_half_of_it() -> None:
    assert possible_counts([16, 32], 36) == [16, 32]
    assert possible_counts([16, 32, 40, 60], 36) == [16, 32, 18]
    assert possible_counts([16, 32], 5) == possible_counts([16], 2) == [2]


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


def test_codes_can_be_clustered_by_their_signs_and_share_one_temperature() -> None:
    soft = groups() * torch.linspace(0.01, 1, 16)  # the first bits hardly count, their signs do
    (found,) = make_anchors(soft, [3], **SETTINGS, points="codes", temperatures="equal")
    (wanted,) = make_anchors(torch.where(soft >= 0, 1.0, -1.0), [3], **SETTINGS)
    assert torch.equal(found.anchors, wanted.anchors) and torch.equal(found.assignments, wanted.assignments)
    assert torch.equal(found.concentration, torch.full((3,), 0.2))
