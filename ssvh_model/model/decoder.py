"""The decoder: frame codes back to frame features. Needed for training only."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ssvh_model.model.frame_errors import FrameError, frame_errors
from ssvh_model.model.head_errors import head_errors
from ssvh_model.model.sampler import Selection
from ssvh_model.model.transformer import Transformer


class FrameDecoder(nn.Module):
    """Reconstructs all frame features of a video from the codes of its visible frames (method, section 3).

    The codes stand at their true frame positions, a learned mask token at the others. The selection weights
    gate the two: this is where the reconstruction loss, and it alone, feels which frames were chosen.
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
        error: FrameError = "squared",
    ) -> None:
        super().__init__()
        self.error = error
        self.code_embedding = nn.Linear(bits, width)
        self.mask_token = _small(width)
        self.positions = _small(frames, width)
        self.transformer = Transformer(width=width, layers=layers, heads=heads, mlp_ratio=mlp_ratio)
        self.head = nn.Linear(width, feature_size)

    def forward(self, frame_codes: Tensor, selection: Selection) -> Tensor:
        """Frame codes [B, k, K] of the visible frames -> reconstructed features [B, M, D] of all frames."""
        return self.head(self.decoded(frame_codes, selection))

    def errors(self, frame_codes: Tensor, selection: Selection, features: Tensor) -> Tensor:
        """Error of each frame's reconstruction, [B, M]; of squared ones, those of hidden frames alone have a
        gradient.

        Args:
            frame_codes: [B, k, K], of the visible frames.
            selection: of the frames.
            features: what is to be reconstructed, [B / n, M, D], for n views of each video one after the
                other.
        """
        tokens = self.decoded(frame_codes, selection)
        if self.error != "squared":
            return frame_errors(self.head(tokens), features, self.error)
        return head_errors(tokens, self.head.weight, self.head.bias, features, selection.hidden)

    def decoded(self, frame_codes: Tensor, selection: Selection) -> Tensor:
        """What the head makes features of, [B, M, width]."""
        embedded = self.code_embedding(frame_codes)
        batch, _, width = embedded.shape
        at_frames = embedded.new_zeros(batch, len(self.positions), width).scatter(
            1, selection.visible[:, :, None].expand(-1, -1, width), embedded
        )
        gate = selection.weights[:, :, None]
        tokens = gate * at_frames + (1 - gate) * self.mask_token
        return self.transformer(tokens + self.positions)


def _small(*size: int) -> nn.Parameter:
    """Normal values of deviation 0.02; without values where only sizes count (see `sinusoidal_positions`)."""
    values = torch.empty(size)
    return nn.Parameter(values if values.is_meta else values.normal_(std=0.02))
