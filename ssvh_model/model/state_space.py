"""The wide shallow encoder of WSCH: a state-space block, then self-attention (anon271/WSCH@5ca3ff3, July
2025).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssvh_model.model.precision import full_precision
from ssvh_model.model.transformer import Block, initialize_linear

KERNEL = 4  # frames that the convolution sees: a frame and those before it
HEADS = 16  # of the scan
STATE_SIZE = 64  # size of what the scan keeps of each of a head's values
DECAY = (1.0, 16.0)  # range of exp(a) at the start
STEP = (0.001, 0.1)  # range of delta at the start, as in Mamba (Gu and Dao, 2023)


def causal_convolution(values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolution over the frames in which a frame sees itself and those before it, [B, T, 2H] -> [B, T, 2H].

    y_l[i] = bias[i] + sum over k of weight[k, 0, i] u_(l-k)[i] + weight[k, 1, i] u_(l-k)[its pair], with u =
    0 before the first frame. Value i and value i + H are a pair: a grouped convolution with H groups of two
    channels. As sums of products, because torch's grouped convolution takes several times as long for so few
    frames on a processor.

    Args:
        values: [B, T, 2H].
        weight: [kernel, 2, 2H].
        bias: [2H].
    """
    frames, half = values.shape[1], values.shape[2] // 2
    pairs = torch.cat([values[..., half:], values[..., :half]], dim=-1)
    sums = bias + values * weight[0, 0] + pairs * weight[0, 1]
    for before in range(1, min(len(weight), frames)):
        earlier = values[:, :-before] * weight[before, 0] + pairs[:, :-before] * weight[before, 1]
        sums = sums + F.pad(earlier, (0, 0, before, 0))
    return sums


def selective_scan(
    values: Tensor, steps: Tensor, decay: Tensor, inputs: Tensor, outputs: Tensor, skip: Tensor
) -> Tensor:
    """Selective state-space scan over the frames, [B, T, heads, size] -> the same.

    For each head S_l = exp(-decay * steps_l) S_(l-1) + steps_l inputs_l values_l^T, from S = 0, and y_l =
    outputs_l^T S_l + skip values_l. Here all frames at once, as y_l = sum over j <= l of (outputs_l .
    inputs_j) exp(-decay * (steps_(j+1) + ... + steps_l)) steps_j values_j: a masked product like attention's
    (Dao and Gu, "Transformers are SSMs", ICML 2024). It takes T^2 instead of T, which for the frames of a
    video is less.

    Args:
        values: u, [B, T, heads, size].
        steps: delta, [B, T, heads], above 0.
        decay: exp(a), [heads], above 0.
        inputs, outputs: B and C, [B, T, state], the same for all heads.
        skip: d, [heads].
    """
    passed = (steps * decay).cumsum(dim=1).transpose(1, 2)  # [B, heads, T]
    since = passed[..., :, None] - passed[..., None, :]
    later = torch.ones(since.shape[-2:], dtype=torch.bool, device=since.device).triu(1)
    # Before exp, which is infinite for frames that come later.
    kept = torch.exp(-since.masked_fill(later, torch.inf))
    alike = (outputs @ inputs.transpose(1, 2))[:, None]  # [B, 1, T, T]
    weights = alike * kept * steps.transpose(1, 2)[:, :, None]
    scanned = weights @ values.transpose(1, 2)  # [B, heads, T, size]
    return scanned.transpose(1, 2) + skip[:, None] * values


class StateSpaceBlock(nn.Module):
    """t + W_o(y * SiLU(z)), with [u, z] = W_e RMSNorm(t) and y the scan of the convolved u, [B, T, H] -> [B,
    T, H].

    u and z are 2H wide. [delta, B, C] = W_x u, and delta = softplus(delta + b).

    Raises:
        ValueError: a width that 16 heads can't share.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = 2 * width
        if inner % HEADS:
            raise ValueError(f"width={width}; a state-space encoder needs a multiple of {HEADS // 2}")
        self.norm = nn.RMSNorm(width)
        self.expand = nn.Linear(width, 2 * inner, bias=False)
        spread = (2 * KERNEL) ** -0.5  # as torch begins a convolution
        self.kernel = _uniform(-spread, spread, KERNEL, 2, inner)
        self.kernel_bias = _uniform(-spread, spread, inner)
        self.select = nn.Linear(inner, HEADS + 2 * STATE_SIZE, bias=False)
        steps = _uniform(math.log(STEP[0]), math.log(STEP[1]), HEADS)
        decay = _uniform(*DECAY, HEADS)
        if not steps.is_meta:  # where only sizes count (see `sinusoidal_positions`)
            with torch.no_grad():
                steps.exp_().expm1_().log_()  # the inverse of softplus
                decay.log_()
        self.step_bias = steps
        self.log_decay = decay
        self.skip = nn.Parameter(torch.ones(HEADS))
        self.project = nn.Linear(inner, width, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        values, gate = self.expand(self.norm(tokens)).chunk(2, dim=-1)
        values = causal_convolution(full_precision(values), self.kernel, self.kernel_bias)
        steps, inputs, outputs = self.select(values).split([HEADS, STATE_SIZE, STATE_SIZE], dim=-1)
        scanned = selective_scan(
            values.unflatten(-1, (HEADS, -1)),
            F.softplus(full_precision(steps) + self.step_bias),
            self.log_decay.exp(),
            inputs,
            outputs,
            self.skip,
        )
        return tokens + self.project(scanned.flatten(2) * F.silu(gate))


class StateSpaceEncoder(nn.Module):
    """`layers` times a state-space block and a block of self-attention, [B, T, width] -> [B, T, width].

    WSCH has one layer, 1024 wide, with 4 heads of attention and no MLP (`mlp_ratio` 0).

    Raises:
        ValueError: layers, heads or width that can't be.
    """

    def __init__(self, *, width: int, layers: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        if layers < 1 or heads < 1 or heads > width:
            raise ValueError(
                f"layers={layers}, heads={heads}, width={width}; needed are layers >= 1 and 1 <= heads <= width"
            )
        self.state_spaces = nn.ModuleList(StateSpaceBlock(width) for _ in range(layers))
        self.blocks = nn.ModuleList(Block(width, heads, mlp_ratio) for _ in range(layers))
        self.blocks.apply(initialize_linear)

    def forward(self, tokens: Tensor) -> Tensor:
        for state_space, block in zip(self.state_spaces, self.blocks, strict=True):
            tokens = block(state_space(tokens))
        return tokens


def _uniform(low: float, high: float, *size: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(size).uniform_(low, high))
