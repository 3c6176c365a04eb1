from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ssvh_model.model.state_space import StateSpaceBlock, causal_convolution, selective_scan


def numbers(*size: int, seed: int = 0, positive: bool = False) -> Tensor:
    values = torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (values.abs() if positive else values).requires_grad_()


def same_with_gradients(fast: Tensor, naive: Tensor, arguments: list[Tensor]) -> None:
    torch.testing.assert_close(fast, naive)
    weights = torch.linspace(-1, 1, fast.numel(), dtype=fast.dtype).view_as(fast)
    for one, other in zip(
        torch.autograd.grad((fast * weights).sum(), arguments),
        torch.autograd.grad((naive * weights).sum(), arguments),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def naive_scan(
    values: Tensor, steps: Tensor, decay: Tensor, inputs: Tensor, outputs: Tensor, skip: Tensor
) -> Tensor:
    """Frame by frame, video by video, head by head."""
    scanned = []
    for video in range(len(values)):
        for head in range(values.shape[2]):
            state = torch.zeros(inputs.shape[2], values.shape[3], dtype=values.dtype)
            for frame in range(values.shape[1]):
                step, value = steps[video, frame, head], values[video, frame, head]
                state = torch.exp(-decay[head] * step) * state + step * torch.outer(
                    inputs[video, frame], value
                )
                scanned.append(outputs[video, frame] @ state + skip[head] * value)
    batch, frames, heads, size = values.shape
    return torch.stack(scanned).view(batch, heads, frames, size).transpose(1, 2)


@pytest.mark.parametrize("frames", [1, 7])
def test_the_scan_is_the_recurrence_with_its_gradients(frames: int) -> None:
    arguments = [
        numbers(2, frames, 3, 4),
        numbers(2, frames, 3, seed=1, positive=True),
        numbers(3, seed=2, positive=True),
        numbers(2, frames, 5, seed=3),
        numbers(2, frames, 5, seed=4),
        numbers(3, seed=5),
    ]
    same_with_gradients(selective_scan(*arguments), naive_scan(*arguments), arguments)


def test_a_long_and_quick_decay_stays_finite() -> None:
    values, steps = numbers(1, 300, 2, 3), torch.full((1, 300, 2), 50.0, dtype=torch.float64)
    rest = [numbers(2, positive=True), numbers(1, 300, 4), numbers(1, 300, 4, seed=1), numbers(2)]
    selective_scan(values, steps.requires_grad_(), *rest).sum().backward()
    assert all(torch.isfinite(one.grad).all() for one in (values, steps, *rest) if one.grad is not None)


@pytest.mark.parametrize("frames", [1, 3, 9])
def test_the_convolution_is_torch_s_grouped_one_with_its_gradients(frames: int) -> None:
    half, kernel = 3, 4
    values, weight, bias = (
        numbers(2, frames, 2 * half),
        numbers(kernel, 2, 2 * half, seed=1),
        numbers(2 * half),
    )
    # Value i and its pair stand side by side there, and the kernel begins with the earliest frame.
    order = torch.tensor([[one, one + half] for one in range(half)]).flatten()
    own, cross = weight.flip(0)[:, 0], weight.flip(0)[:, 1]
    grouped = torch.stack(
        [torch.stack([own[:, i], cross[:, i]]) if i < half else torch.stack([cross[:, i], own[:, i]])
         for i in order.tolist()]
    )  # fmt: skip
    padded = F.pad(values[..., order].transpose(1, 2), (kernel - 1, 0))
    naive = F.conv1d(padded, grouped, bias[order], groups=half).transpose(1, 2)[..., order.argsort()]
    same_with_gradients(causal_convolution(values, weight, bias), naive, [values, weight, bias])


def test_a_block_is_the_formula_and_no_frame_sees_a_later_one() -> None:
    torch.manual_seed(0)
    block = StateSpaceBlock(8).double()
    tokens = torch.randn(2, 6, 8, dtype=torch.float64)
    values, gate = (block.expand(block.norm(tokens))[..., part] for part in (slice(16), slice(16, None)))
    values = causal_convolution(values, block.kernel, block.kernel_bias)
    chosen = block.select(values)
    scanned = naive_scan(
        values.view(2, 6, 16, 1),
        torch.log1p(torch.exp(chosen[..., :16] + block.step_bias)),
        block.log_decay.exp(),
        chosen[..., 16:80],
        chosen[..., 80:],
        block.skip,
    )
    wanted = tokens + block.project(scanned.reshape(2, 6, 16) * gate * torch.sigmoid(gate))
    torch.testing.assert_close(block(tokens), wanted)
    changed = tokens.clone()
    changed[:, 4:] += 1
    torch.testing.assert_close(block(changed)[:, :4], block(tokens)[:, :4])


def test_it_begins_with_the_decays_and_steps_that_are_said() -> None:
    torch.manual_seed(0)
    block = StateSpaceBlock(8)
    steps = F.softplus(block.step_bias)
    assert 0.0009 < steps.min() < 0.005 < 0.02 < steps.max() < 0.11
    assert 1 <= block.log_decay.exp().min() < 4 < 10 < block.log_decay.exp().max() <= 16


def test_a_width_that_the_heads_can_not_share_is_refused() -> None:
    with pytest.raises(ValueError, match="width=12; a state-space encoder needs a multiple of 8"):
        StateSpaceBlock(12)
