from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ssvh_model.clustering.anchors import Granularity
from ssvh_model.losses.p2set import Negatives, p2set_loss


@pytest.fixture
def granularities(golden: dict[str, np.ndarray]) -> list[Granularity]:
    return [
        Granularity(
            torch.tensor(golden[f"p2set_centers{number}"]),
            torch.tensor(golden[f"p2set_assign{number}"]),
            torch.tensor(golden[f"p2set_density{number}"]),
        )
        for number in range(3)
    ]


def test_equals_the_reference(golden: dict[str, np.ndarray], granularities: list[Granularity]) -> None:
    codes, index = torch.tensor(golden["p2set_codes"]), torch.tensor(golden["p2set_index"])
    loss = p2set_loss(codes, index, granularities, negatives="all").item()
    assert abs(loss - float(golden["p2set_loss"])) < 1e-5
    released = p2set_loss(codes, index, granularities, negatives="repeated").item()
    assert abs(released - float(golden["p2set_loss_with_repeated_positives"])) < 1e-5


@pytest.mark.parametrize("negatives", ["all", "repeated"])
def test_the_loss_has_a_finite_gradient(
    golden: dict[str, np.ndarray], granularities: list[Granularity], negatives: Negatives
) -> None:
    codes = torch.tensor(golden["p2set_codes"], requires_grad=True)
    p2set_loss(codes, torch.tensor(golden["p2set_index"]), granularities, negatives=negatives).backward()
    assert codes.grad is not None and torch.isfinite(codes.grad).all() and codes.grad.abs().sum() > 0


def test_repeated_positives_change_nothing_where_no_two_videos_share_a_cluster() -> None:
    anchors = torch.where(torch.rand(5, 8, generator=torch.Generator().manual_seed(0)) > 0.5, 1.0, -1.0)
    codes = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
    apart = Granularity(anchors, torch.tensor([4, 0, 2]), torch.full((5,), 0.2))
    shared = Granularity(anchors, torch.tensor([4, 0, 4]), torch.full((5,), 0.2))
    index = torch.arange(3)

    def both(clusters: Granularity) -> tuple[float, float]:
        return (
            p2set_loss(codes, index, [clusters], negatives="all").item(),
            p2set_loss(codes, index, [clusters], negatives="repeated").item(),
        )

    assert both(apart)[0] == pytest.approx(both(apart)[1], rel=1e-5)
    assert both(shared)[0] < both(shared)[1]


def test_equals_the_naive_form(golden: dict[str, np.ndarray], granularities: list[Granularity]) -> None:
    codes, index = golden["p2set_codes"], golden["p2set_index"]
    losses = []
    for clusters in granularities:
        for code, video in zip(codes, index, strict=True):
            logits = [
                float(code @ anchor / np.linalg.norm(code) / np.linalg.norm(anchor) / phi)
                for anchor, phi in zip(clusters.anchors.numpy(), clusters.concentration.numpy(), strict=True)
            ]
            own = logits[int(clusters.assignments[video])]
            losses.append(math.log(sum(math.exp(logit) for logit in logits)) - own)
    fast = p2set_loss(torch.tensor(codes), torch.tensor(index), granularities, negatives="all")
    assert fast.item() == pytest.approx(np.mean(losses), rel=1e-5)


def test_a_code_at_its_own_anchor_costs_less() -> None:
    anchors = torch.tensor([[1.0, 1, 1, 1], [-1, -1, 1, 1]])
    clusters = Granularity(anchors, torch.tensor([0, 1]), torch.full((2,), 0.2))
    own = p2set_loss(anchors, torch.tensor([0, 1]), [clusters], negatives="all")
    other = p2set_loss(anchors.flip(0), torch.tensor([0, 1]), [clusters], negatives="all")
    assert own < 0.01 < 4 < other


def test_no_granularity_is_refused() -> None:
    with pytest.raises(ValueError, match="granularity"):
        p2set_loss(torch.ones(1, 4), torch.zeros(1, dtype=torch.long), [], negatives="all")


def test_the_nearest_anchor_as_target_is_where_the_code_is_by_now() -> None:
    anchors = torch.where(torch.rand(5, 8, generator=torch.Generator().manual_seed(0)) > 0.5, 1.0, -1.0)
    codes = anchors[[3, 1, 0]] + 0.1
    clusters = [Granularity(anchors, torch.tensor([4, 4, 2]), torch.linspace(0.1, 0.3, 5))]
    moved = [Granularity(anchors, torch.tensor([3, 1, 0]), clusters[0].concentration)]
    index = torch.arange(3)
    nearest = p2set_loss(codes, index, clusters, negatives="all", target="nearest")
    assert torch.equal(nearest, p2set_loss(codes, index, moved, negatives="all"))
    assert nearest < p2set_loss(codes, index, clusters, negatives="all")
    with pytest.raises(ValueError, match="target 'best'; allowed are cluster and nearest"):
        p2set_loss(codes, index, clusters, negatives="all", target="best")  # type: ignore[arg-type]
