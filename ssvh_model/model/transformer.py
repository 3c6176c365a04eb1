"""Pre-norm Transformer, used by the encoder and the decoder."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """Multi-head self-attention over all tokens, [B, T, width] -> [B, T, width].

    The heads are `width // heads` wide each; a remainder is dropped, as in the released code (width 256, 6 heads).
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        inner = width // heads * heads
        self.query_key_value = nn.Linear(width, 3 * inner)
        self.project = nn.Linear(inner, width)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, length, _ = tokens.shape
        split = self.query_key_value(tokens).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = attend(split[0], split[1], split[2])
        return self.project(attended.transpose(1, 2).reshape(batch, length, -1))


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot-product attention, [B, heads, T, size] each -> [B, heads, T, size]."""
    if query.is_cuda:
        return F.scaled_dot_product_attention(query, key, value)
    # The few tokens of a video are no work for a kernel that is made for thousands: in bfloat16, its backward pass takes as long
    # as the rest of a step on a processor.
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    return torch.softmax(scores, dim=-1) @ value


class Block(nn.Module):
    """One pre-norm layer: x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        hidden = int(width * mlp_ratio)
        self.attention_norm = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attention(self.attention_norm(tokens))
        return tokens + self.mlp(self.mlp_norm(tokens))


class Transformer(nn.Module):
    """A stack of `layers` blocks with a final LayerNorm, [B, T, width] -> [B, T, width].

    Raises:
        ValueError: layers, heads or width below 1, or more heads than width.
    """

    def __init__(self, *, width: int, layers: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        if layers < 1 or heads < 1 or heads > width:
            raise ValueError(
                f"layers={layers}, heads={heads}, width={width}; needed are layers >= 1 and 1 <= heads <= width"
            )
        self.blocks = nn.ModuleList(Block(width, heads, mlp_ratio) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.apply(_initialize)

    def forward(self, tokens: Tensor) -> Tensor:
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
