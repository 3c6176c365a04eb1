"""A network run by ONNX Runtime, on the processor."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import torch
from torch import Tensor

from ssvh_model.errors import UserError
from ssvh_model.model.precision import Precision
from ssvh_model.video.engines.exports import exported
from ssvh_model.video.engines.network import FRAMES_AT_ONCE, FromPixels, ImageNetwork


class OnnxRuntimeEngine:
    """It has float32 only.

    Raises:
        UserError: another precision.
    """

    device = torch.device("cpu")

    def __init__(self, network: ImageNetwork, *, size: int, precision: Precision) -> None:
        import onnxruntime

        if precision != "float32":
            raise UserError(
                f"features.precision: {precision!r}, which features.engine 'onnxruntime' does not have; allowed is 'float32'"
            )
        what = {
            "engine": "onnx",
            "torch": torch.__version__,
            "weights": network.weights_sha256,
            "size": size,
        }
        options = onnxruntime.SessionOptions()
        # Whoever calls has threads, each with frames of its own.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            exported(what, lambda: _export(network, size)), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, frames: Tensor) -> Tensor:
        """Features [n, D] float32, on the CPU."""
        parts = [
            self._session.run(None, {"frames": part.numpy()})[0] for part in frames.split(FRAMES_AT_ONCE)
        ]
        return torch.cat([torch.from_numpy(part) for part in parts])


def _export(network: ImageNetwork, size: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        path = Path(folder) / "network.onnx"
        torch.onnx.export(
            FromPixels(network),
            (torch.zeros(FRAMES_AT_ONCE, size, size, 3),),
            path,
            input_names=["frames"],
            dynamic_axes={"frames": {0: "n"}},
            dynamo=False,
        )
        return path.read_bytes()
