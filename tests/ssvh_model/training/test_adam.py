"""Adam's steps, beside torch's own optimizer."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from ssvh_model.training.adam import Adam


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 7), nn.GELU(), nn.Linear(7, 3))


def loss_of(model: nn.Module, step: int) -> torch.Tensor:
    inputs = torch.randn(4, 5, generator=torch.Generator().manual_seed(step))
    loss: torch.Tensor = model(inputs).square().sum()
    return loss


def test_steps_are_those_of_torch_bit_for_bit_also_after_a_restart() -> None:
    ours, theirs = network(), network()
    unused = nn.Parameter(torch.ones(2))  # has no gradient
    first = Adam([*ours.parameters(), unused], learning_rate=0.01)
    reference = torch.optim.Adam(theirs.parameters(), lr=0.01, fused=True)
    for step in range(9):
        if step == 3:
            first.learning_rate = reference.param_groups[0]["lr"] = 0.003
        if step == 5:
            again = Adam([*ours.parameters(), unused], learning_rate=0.003)
            again.restore(first.state())
            first = again
        first.clear()
        reference.zero_grad()
        loss_of(ours, step).backward()
        loss_of(theirs, step).backward()
        first.step()
        reference.step()
    assert all(map(torch.equal, ours.parameters(), theirs.parameters()))
    assert torch.equal(unused, torch.ones(2)) and first.moments[-1] is None


def test_a_restored_optimizer_leaves_the_state_alone() -> None:
    model = network()
    optimizer = Adam(model.parameters(), learning_rate=0.01)
    loss_of(model, 0).backward()
    optimizer.step()
    state = optimizer.state()
    again = Adam(model.parameters(), learning_rate=0.01)
    again.restore(state)
    again.step()
    assert state[0] is not None and float(state[0]["steps"]) == 1


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("mean", torch.zeros(2), r"mean is .*\[2\].* allowed is .*\[7, 5\]"),
        ("square", torch.zeros(7, 5, dtype=torch.float64), "square is .*float64"),
        ("steps", torch.zeros(()), "steps are"),
        ("steps", torch.ones(2), "steps are"),
        ("steps", torch.tensor(torch.inf), "steps are"),
    ],
)
def test_moments_of_something_else_are_refused(name: str, value: torch.Tensor, message: str) -> None:
    model = network()
    optimizer = Adam(model.parameters(), learning_rate=0.01)
    loss_of(model, 0).backward()
    optimizer.step()
    state = [dict(one) for one in optimizer.state() if one is not None]
    state[0][name] = value
    with pytest.raises(ValueError, match=message):
        optimizer.restore(state)
    with pytest.raises(ValueError, match="moments of 3 weights; there are 4"):
        optimizer.restore(optimizer.state()[:3])


def test_a_step_imports_no_compiler() -> None:
    program = """
import sys, torch
from ssvh_model.training.adam import Adam
weight = torch.ones(3, requires_grad=True)
optimizer = Adam([weight], learning_rate=0.1)
weight.sum().backward()
optimizer.step()
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
