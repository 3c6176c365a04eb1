"""An image network as a backbone describes it, and as an engine gets it: pixels in, features out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# Frames that go through a network together on a processor: more of them leave its cache, and it gets slower.
FRAMES_AT_ONCE = 8


@dataclass(frozen=True)
class ImageNetwork:
    """An image network without its classifier.

    Attributes:
        build: makes it, with its weights: normalised frames [n, 3, size, size] float32 -> [n, feature_size]. An engine that has an export
            of it does not ask.
        feature_size: D.
        weights_sha256: hex digest of the weights.
        mean, std: of the three colours, for pixels of 0 to 1.
    """

    build: Callable[[], nn.Module]
    feature_size: int
    weights_sha256: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


class FromPixels(nn.Module):
    """The network behind what it wants done to frames: [n, size, size, 3] float32, 0 to 255 -> features [n, D] float32.

    Args:
        network: what is run.
        dtype: of its weights and its arithmetic.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, network: ImageNetwork, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.dtype = dtype
        self.network = network.build().to(dtype)
        self.register_buffer("mean", torch.tensor(network.mean).view(3, 1, 1) * 255)
        self.register_buffer("scale", 1 / (torch.tensor(network.std).view(3, 1, 1) * 255))
        self.eval().requires_grad_(False)

    def forward(self, frames: Tensor) -> Tensor:
        # Strides as channels last, without a copy.
        planes = frames.permute(0, 3, 1, 2)
        features: Tensor = self.network(planes.sub(self.mean).mul(self.scale).to(self.dtype))
        return features.float()
