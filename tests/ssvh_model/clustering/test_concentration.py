from __future__ import annotations

import numpy as np
import torch

from ssvh_model.clustering.concentration import concentration


def test_equals_the_released_density(golden: dict[str, np.ndarray]) -> None:
    phi = concentration(
        torch.tensor(golden["density_dist_sq"]),
        torch.tensor(golden["density_assign"]),
        int(golden["density_k"]),
        mean=float(golden["density_temperature"]),
    )
    np.testing.assert_allclose(phi, golden["density_values"], atol=1e-5)


def test_lone_and_empty_clusters_take_the_largest_value() -> None:
    distances = torch.tensor([1.0, 1, 4, 4, 0])
    phi = concentration(distances, torch.tensor([0, 0, 1, 1, 2]), 4, mean=0.2)
    assert phi[2] == phi[3] == phi[1] > phi[0]


def test_members_on_their_centres_leave_no_division_by_zero() -> None:
    phi = concentration(torch.zeros(4), torch.tensor([0, 0, 1, 1]), 2, mean=0.2)
    torch.testing.assert_close(phi, torch.full((2,), 0.2))
