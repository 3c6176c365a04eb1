"""The decoder of WSCH, which knows no positions: all hidden frames of a video are reconstructed alike."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ssvh_model.model.frame_errors import FrameError, frame_errors
from ssvh_model.model.sampler import Selection
from ssvh_model.model.transformer import Transformer


class PositionlessDecoder(nn.Module):
    """One reconstruction for all hidden frames, from the codes of the visible ones (anon271/WSCH@5ca3ff3).

    There, each hidden frame has the same learned token beside the codes of the visible frames; attention,
    which has no order without positions, makes the same of all of them. So one token is enough, which counts
    as often as there are hidden frames.
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
        error: FrameError,
    ) -> None:
        super().__init__()
        self.frames = frames
        self.error = error
        self.hidden_token = nn.Parameter(torch.zeros(bits))
        self.code_embedding = nn.Linear(bits, width)
        self.transformer = Transformer(width=width, layers=layers, heads=heads, mlp_ratio=mlp_ratio)
        self.head = nn.Linear(width, feature_size)

    def forward(self, frame_codes: Tensor) -> Tensor:
        """Frame codes [B, k, K] of the visible frames -> reconstructed features [B, 1, D] of each of the
        others.
        """
        batch, visible, _ = frame_codes.shape
        tokens = torch.cat([frame_codes, self.hidden_token.expand(batch, 1, -1)], dim=1)
        counts = tokens.new_zeros(visible + 1)
        counts[-1] = math.log(self.frames - visible)
        return self.head(self.transformer(self.code_embedding(tokens), counts)[:, -1:])

    def errors(self, frame_codes: Tensor, selection: Selection, features: Tensor) -> Tensor:
        """Error of each frame if it is reconstructed as the hidden ones are, [B, M].

        Args:
            frame_codes: [B, k, K], of the visible frames.
            selection: of the frames; only their number counts.
            features: what is to be reconstructed, [B / n, M, D], for n views of each video one after the
                other.
        """
        return frame_errors(self(frame_codes), features, self.error)
