"""The decoder: frame codes back to frame features. Needed for training only."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ssvh_model.model.sampler import Selection
from ssvh_model.model.transformer import Transformer


class FrameDecoder(nn.Module):
    """Reconstructs all frame features of a video from the codes of its visible frames (method, section 3).

    The codes stand at their true frame positions, a learned mask token at the others. The selection weights gate the two:
    this is where the reconstruction loss, and it alone, feels which frames were chosen.
    """

    def __init__(
        self,
        *,
        feature_size: int,
        frames: int,
        bits: int,
        width: int,
        layers: int,
        heads: int,
        mlp_ratio: float,
    ) -> None:
        super().__init__()
        self.code_embedding = nn.Linear(bits, width)
        self.mask_token = nn.Parameter(torch.empty(width).normal_(std=0.02))
        self.positions = nn.Parameter(torch.empty(frames, width).normal_(std=0.02))
        self.transformer = Transformer(width=width, layers=layers, heads=heads, mlp_ratio=mlp_ratio)
        self.head = nn.Linear(width, feature_size)

    def forward(self, frame_codes: Tensor, selection: Selection) -> Tensor:
        """Frame codes [B, k, K] of the visible frames -> reconstructed features [B, M, D] of all frames."""
        embedded = self.code_embedding(frame_codes)
        batch, _, width = embedded.shape
        at_frames = embedded.new_zeros(batch, len(self.positions), width).scatter(
            1, selection.visible[:, :, None].expand(-1, -1, width), embedded
        )
        gate = selection.weights[:, :, None]
        tokens = gate * at_frames + (1 - gate) * self.mask_token
        return self.head(self.transformer(tokens + self.positions))
