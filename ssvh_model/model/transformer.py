"""Pre-norm Transformer, used by the encoder and the decoder."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """Multi-head self-attention over all tokens, [B, T, width] -> [B, T, width]; `bias` as in `attend`.

    The heads are `width // heads` wide each; a remainder is dropped, as in the released code (width 256, 6
    heads).
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        inner = width // heads * heads
        self.query_key_value = nn.Linear(width, 3 * inner)
        self.project = nn.Linear(inner, width)

    def forward(self, tokens: Tensor, bias: Tensor | None = None) -> Tensor:
        batch, length, _ = tokens.shape
        joined = self.query_key_value(tokens).view(batch, length, 3, self.heads, -1)
        query, key, value = joined.permute(2, 0, 3, 1, 4).unbind()
        attended = attend(query, key, value, bias)
        return self.project(attended.transpose(1, 2).reshape(batch, length, -1))


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention, [B, heads, T, size] each -> [B, heads, T, size].

    Args:
        query, key, value: of the tokens.
        bias: [T], added to the scores of each token as a key; log(n) makes it count as n tokens that are
            alike.
    """
    if query.is_cuda:
        mask = None if bias is None else bias.to(query.dtype).expand(query.shape[-2], -1)
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    # The few tokens of a video are no work for a kernel that is made for thousands: in bfloat16, its backward
    # pass takes as long as the rest of a step on a processor.
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    if bias is not None:
        scores = scores + bias
    return torch.softmax(scores, dim=-1) @ value


class Block(nn.Module):
    """One pre-norm layer: x + attention(norm(x)), then x + mlp(norm(x)); no MLP with an `mlp_ratio` of 0."""

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads)
        self.mlp: nn.Sequential | None = None
        if mlp_ratio:
            hidden = int(width * mlp_ratio)
            self.mlp_norm = nn.LayerNorm(width)
            self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, tokens: Tensor, bias: Tensor | None = None) -> Tensor:
        tokens = tokens + self.attention(self.attention_norm(tokens), bias)
        return tokens if self.mlp is None else tokens + self.mlp(self.mlp_norm(tokens))

    def last_layers(self) -> list[nn.Module]:
        """The last layer of each residual branch."""
        return [self.attention.project] if self.mlp is None else [self.attention.project, self.mlp[-1]]


class Transformer(nn.Module):
    """A stack of `layers` blocks with a final LayerNorm, [B, T, width] -> [B, T, width]; `bias` as in
    `attend`.

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
        self.apply(initialize_linear)

    def forward(self, tokens: Tensor, bias: Tensor | None = None) -> Tensor:
        for block in self.blocks:
            tokens = block(tokens, bias)
        return self.norm(tokens)


def initialize_linear(module: nn.Module) -> None:
    """Starting weights of a linear layer, for `Module.apply`: Glorot's, and no bias."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
