"""A network run by ONNX Runtime, on the processor."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssvh_model.errors import UserError
from ssvh_model.model.precision import Precision
from ssvh_model.video.engines.exports import exported
from ssvh_model.video.engines.network import (
    FRAMES_AT_ONCE,
    FromPixels,
    ImageNetwork,
    Normalised,
    filled_up,
)
from ssvh_model.video.engines.onnx_file import Port, alone_on_disk, check_rows, frames_at_once, unreadable


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
        what = {"engine": "onnx", "torch": torch.__version__, "size": size, **network.key}
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what it logs, it raises too
        # Whoever calls has threads, each with frames of its own.
        options.intra_op_num_threads = options.inter_op_num_threads = 1

        def session(model: bytes | str) -> Any:
            return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

        self._normalised: Normalised | None = None  # of a model of the user's, which begins behind that
        if network.onnx is None:
            self._session = session(exported(what, lambda: _export(network, size)))
            self._at_once = FRAMES_AT_ONCE
        else:
            with alone_on_disk(network.onnx) as path:
                try:
                    self._session = session(str(path))
                except Exception as error:  # each has a type of its own, and no common one
                    raise unreadable(error, path) from error
            inputs, outputs = (
                [_port(one) for one in ports]
                for ports in (self._session.get_inputs(), self._session.get_outputs())
            )
            self._at_once = frames_at_once(inputs, outputs, size)
            self._normalised = Normalised(network)
        self._input = self._session.get_inputs()[0].name

    @torch.inference_mode()
    def __call__(self, frames: Tensor) -> Tensor:
        """Features [n, D] float32, on the CPU."""
        return torch.cat([self._features(part) for part in frames.split(self._at_once)])

    def _features(self, part: Tensor) -> Tensor:
        if self._normalised is None:
            return self._run(part)
        found = self._run(self._normalised(filled_up(part, self._at_once)).contiguous())
        check_rows(found.shape, self._at_once)
        return (found.mean((2, 3)) if found.ndim == 4 else found)[: len(part)]

    def _run(self, given: Tensor) -> Tensor:
        return torch.from_numpy(self._session.run(None, {self._input: given.numpy()})[0])


def _port(one: Any) -> Port:
    sizes = tuple(size if isinstance(size, int) else None for size in one.shape)
    return Port(one.name, sizes, one.type == "tensor(float)")


def _export(network: ImageNetwork, size: int) -> bytes:
    example = torch.zeros(FRAMES_AT_ONCE, size, size, 3)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        path = Path(folder) / "network.onnx"
        torch.onnx.export(
            # Traced first: by itself the exporter does not take a network that is TorchScript.
            torch.jit.trace(FromPixels(network), example, check_trace=False),
            (example,),
            path,
            input_names=["frames"],
            dynamic_axes={"frames": {0: "n"}},
            dynamo=False,
        )
        return path.read_bytes()
