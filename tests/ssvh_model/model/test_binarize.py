from __future__ import annotations

import numpy as np
import torch

from ssvh_model.model.binarize import binarize, sign


def test_codes_and_gradient_are_those_of_the_released_code(golden: dict[str, np.ndarray]) -> None:
    values = torch.tensor(golden["binarize_x"], requires_grad=True)
    codes = binarize(values)
    codes.sum().backward()
    np.testing.assert_array_equal(codes.detach(), golden["binarize_out"])
    assert values.grad is not None
    np.testing.assert_array_equal(values.grad, golden["binarize_grad"])


def test_zero_counts_as_plus_one() -> None:
    assert sign(torch.tensor([0.0, -0.0, -1e-30, 1e-30])).tolist() == [1, 1, -1, 1]
