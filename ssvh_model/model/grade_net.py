"""Grade-Net: how much a frame is worth being shown."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GradeNet(nn.Module):
    """Scores embedded frames: s = sigmoid(Linear(x + LayerNorm(MLP(x)))), [B, M, E] -> [B, M] in (0, 1).

    Source: AutoSSVH, section "Grade-Net" (method, section 2).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.norm = nn.LayerNorm(width)
        self.score = nn.Linear(width, 1)

    def forward(self, embedded: Tensor) -> Tensor:
        return torch.sigmoid(self.score(embedded + self.norm(self.mlp(embedded))).squeeze(-1))
