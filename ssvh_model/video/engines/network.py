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
        build: makes it, with its weights: normalised frames [n, 3, size, size] float32 -> [n, feature_size].
            An engine that has an export of it does not ask. Not for `onnx`.
        feature_size: D; None if only a run shows it.
        weights_sha256: hex digest of the weights.
        mean, std: of red, green and blue, for pixels of 0 to 1.
        colours: order of the planes that it takes, "rgb" or "bgr".
        architecture: of the user's own weights; "" elsewhere, where the weights tell it.
        onnx: the whole network as ONNX, which torch can't run; None for all others.
    """

    build: Callable[[], nn.Module]
    feature_size: int | None
    weights_sha256: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    colours: str = "rgb"
    architecture: str = ""
    onnx: bytes | None = None

    @property
    def key(self) -> dict[str, object]:
        """Everything that an export of it follows from, beside the size of the frames."""
        return {
            "weights": self.weights_sha256,
            "mean": self.mean,
            "std": self.std,
            "colours": self.colours,
            "architecture": self.architecture,
        }


class Normalised(nn.Module):
    """What a network takes of frames: [n, size, size, 3] float32, 0 to 255 -> [n, 3, size, size] float32."""

    mean: Tensor
    scale: Tensor

    def __init__(self, network: ImageNetwork) -> None:
        super().__init__()
        self.reverse = network.colours == "bgr"
        self.register_buffer("mean", torch.tensor(network.mean).view(3, 1, 1) * 255)
        self.register_buffer("scale", 1 / (torch.tensor(network.std).view(3, 1, 1) * 255))

    def forward(self, frames: Tensor) -> Tensor:
        # Strides as channels last, without a copy.
        planes = frames.permute(0, 3, 1, 2).sub(self.mean).mul(self.scale)
        return planes.flip(1) if self.reverse else planes


class FromPixels(nn.Module):
    """The network behind what it wants done to frames: [n, size, size, 3] float32, 0 to 255 -> features [n,
    D] float32.

    Args:
        network: what is run.
        dtype: of its weights and its arithmetic.
    """

    def __init__(self, network: ImageNetwork, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.dtype = dtype
        self.normalised = Normalised(network)
        self.network = network.build().to(dtype)
        self.eval().requires_grad_(False)

    def forward(self, frames: Tensor) -> Tensor:
        features: Tensor = self.network(self.normalised(frames).to(self.dtype))
        return features.float()


def filled_up(frames: Tensor, count: int) -> Tensor:
    """The frames, and black ones after them up to `count`."""
    if len(frames) == count:
        return frames.contiguous()
    whole = frames.new_zeros(count, *frames.shape[1:])
    whole[: len(frames)] = frames
    return whole


def in_a_line(error: BaseException) -> str:
    """What an error of an engine says, without the places in its code, and not too long."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = [line for line in lines if line and not line.startswith(("Exception from ", "Check '"))]
    return (" ".join(said) or type(error).__name__)[:200]
