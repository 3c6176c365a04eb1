"""A network run by torch, on a processor or a GPU."""

from __future__ import annotations

import torch
from torch import Tensor

from ssvh_model.errors import UserError
from ssvh_model.model.precision import Precision
from ssvh_model.video.engines.network import FRAMES_AT_ONCE, FromPixels, ImageNetwork


class TorchEngine:
    """On the processor, frames go through `FRAMES_AT_ONCE` at a time.

    Raises:
        UserError: the network is ONNX.
    """

    def __init__(self, network: ImageNetwork, *, precision: Precision, device: torch.device) -> None:
        if network.onnx is not None:
            raise UserError(
                "is ONNX, which features.engine 'torch' does not run; allowed are 'openvino' and 'onnxruntime'"
            )
        self.device = device
        network_here = FromPixels(network, getattr(torch, precision)).to(device)
        self._network = network_here.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def __call__(self, frames: Tensor) -> Tensor:
        """Features [n, D] float32, on the CPU."""
        if self.device.type != "cpu":
            features: Tensor = self._network(frames.to(self.device)).cpu()
            return features
        return torch.cat([self._network(part) for part in frames.split(FRAMES_AT_ONCE)])
