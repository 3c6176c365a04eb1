"""The fused head and error against the two steps that they replace."""

from __future__ import annotations

import pytest
import torch

from ssvh_model.losses.reconstruction import reconstruction_loss
from ssvh_model.model.head_errors import head_errors
from ssvh_model.model.precision import arithmetic
from ssvh_model.model.sampler import Selection, select_at_random

VIDEOS, FRAMES, WIDTH, SIZE, VISIBLE = 4, 6, 5, 7, 3
CPU = torch.device("cpu")


def naive(
    tokens: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, features: torch.Tensor
) -> torch.Tensor:
    reconstruction = tokens @ weight.T + bias
    return (reconstruction - features.repeat(len(tokens) // len(features), 1, 1)).square().mean(dim=-1)


def inputs(dtype: torch.dtype) -> tuple[list[torch.Tensor], torch.Tensor, Selection]:
    """Tokens of two views, weight and bias; the features; and what is shown."""
    draws = torch.Generator().manual_seed(0)
    shapes = (2 * VIDEOS, FRAMES, WIDTH), (SIZE, WIDTH), (SIZE,)
    of_head = [torch.randn(*shape, generator=draws, dtype=dtype).requires_grad_() for shape in shapes]
    features = torch.randn(VIDEOS, FRAMES, SIZE, generator=draws, dtype=dtype)
    return of_head, features, select_at_random(2 * VIDEOS, FRAMES, VISIBLE, draws)


def test_errors_and_gradients_of_the_loss_equal_those_of_the_two_steps() -> None:
    of_head, features, selection = inputs(torch.float64)
    weights = selection.weights.double().requires_grad_()
    found = head_errors(*of_head, features, selection.hidden)
    expected = naive(*of_head, features)
    torch.testing.assert_close(found, expected)
    gradients = [
        torch.autograd.grad(reconstruction_loss(errors, weights), [*of_head, weights])
        for errors in (found, expected)
    ]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
    assert (gradients[0][-1] != 0).all(), "visible frames count for the choice of frames"


def test_errors_of_visible_frames_have_no_gradient() -> None:
    of_head, features, selection = inputs(torch.float64)
    errors = head_errors(*of_head, features, selection.hidden)
    for gradient in torch.autograd.grad((selection.weights * errors).sum(), of_head):
        assert not gradient.any()


def test_in_bfloat16_they_are_near_and_come_in_the_dtype_of_what_they_are_of() -> None:
    of_head, features, selection = inputs(torch.float32)
    exact = naive(*of_head, features)
    with arithmetic("bfloat16", CPU):
        errors = head_errors(*of_head, features, selection.hidden)
    assert errors.dtype == torch.float32
    torch.testing.assert_close(errors, exact, rtol=0.05, atol=0.05)
    found = torch.autograd.grad(reconstruction_loss(errors, selection.weights), of_head)
    wanted = torch.autograd.grad(reconstruction_loss(exact, selection.weights), of_head)
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=0.1, atol=0.05)


@pytest.mark.parametrize("visible", [1, FRAMES - 1])
def test_hidden_frames_are_those_that_are_not_visible(visible: int) -> None:
    selection = select_at_random(9, FRAMES, visible, torch.Generator().manual_seed(1))
    for shown, hidden in zip(selection.visible.tolist(), selection.hidden.tolist(), strict=True):
        assert hidden == sorted(set(range(FRAMES)) - set(shown))
