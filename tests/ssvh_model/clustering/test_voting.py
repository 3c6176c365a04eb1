from __future__ import annotations

import itertools

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssvh_model.clustering.voting import vote


def test_equals_the_reference(golden: dict[str, np.ndarray]) -> None:
    codes, assignments = torch.tensor(golden["vote_codes"]), torch.tensor(golden["vote_assign"])
    wanted = torch.tensor(golden["vote_centers"])
    anchors = vote(codes, assignments, torch.zeros(wanted.shape))
    torch.testing.assert_close(anchors, wanted.float())


@given(st.integers(0, 10_000), st.integers(1, 7))
@settings(max_examples=40)
def test_no_other_anchor_is_nearer_to_the_members(seed: int, members: int) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.choice([-1, 1], size=(members, 5))
    anchor = vote(torch.tensor(codes), torch.zeros(members, dtype=torch.long), torch.zeros(1, 5))[0].numpy()
    distance = {other: sum((codes != other).sum(axis=1)) for other in itertools.product([-1, 1], repeat=5)}
    assert (codes != anchor).sum() == min(distance.values())


def test_ties_and_empty_clusters_take_the_signs_of_the_centroid() -> None:
    codes = torch.tensor([[1, 1, -1], [-1, 1, -1]])
    centroids = torch.tensor([[-0.3, 0.0, 0.0], [0.2, -0.2, 0.0]])
    anchors = vote(codes, torch.tensor([0, 0]), centroids)
    assert anchors.tolist() == [[-1, 1, -1], [1, -1, 1]]
