"""What runs an image network: torch, or OpenVINO or ONNX Runtime, to which it is exported once."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal, Protocol, cast, get_args

import torch
from torch import Tensor

from ssvh_model.errors import UserError
from ssvh_model.model.precision import Precision, best_precision
from ssvh_model.video.engines.network import ImageNetwork

EngineName = Literal["torch", "openvino", "onnxruntime"]
# What each needs beside torch, as a registry names it; the extras have the engines' names.
PACKAGES: dict[str, tuple[str, ...]] = {
    "torch": (),
    "openvino": ("openvino",),
    "onnxruntime": ("onnxruntime", "onnx"),
}


class Engine(Protocol):
    """An image network that can be run, by many threads at once.

    Attributes:
        device: where it runs.
    """

    device: torch.device

    def __call__(self, frames: Tensor) -> Tensor:
        """Features [n, D] float32, on the CPU, of frames [n, size, size, 3] float32, 0 to 255, on the CPU."""
        ...


def best_engine(device: torch.device, *, onnx: bool = False) -> EngineName:
    """OpenVINO for a processor, where it is installed, else torch.

    Args:
        device: where torch would run.
        onnx: the network is ONNX, which torch does not run: OpenVINO wherever it is installed, else ONNX
            Runtime.
    """
    if find_spec("openvino") is not None and (onnx or device.type == "cpu"):
        return "openvino"
    return "onnxruntime" if onnx else "torch"


def best_precision_of(engine: str, device: torch.device) -> Precision:
    """bfloat16 where the engine and what it runs on have it, else float32."""
    if engine == "onnxruntime":
        return "float32"
    return best_precision(device if engine == "torch" else torch.device("cpu"))


def start_engine(
    name: str, network: ImageNetwork, *, size: int, precision: str, device: torch.device
) -> Engine:
    """Make a network ready to run.

    Args:
        name: of the engine, `EngineName`.
        network: what it runs.
        size: side of the frames, pixels.
        precision: of its arithmetic, `Precision`.
        device: for torch; the other engines run on the processor.

    Raises:
        UserError: no such engine, its package is not installed, or it does not have this precision here.
    """
    if precision not in get_args(Precision):
        raise UserError(
            f"features.precision: {precision!r}; allowed are {' and '.join(map(repr, get_args(Precision)))}"
        )
    known = cast(Precision, precision)
    # Each imports what it needs.
    if name == "torch":
        from ssvh_model.video.engines.pytorch import TorchEngine

        return TorchEngine(network, precision=known, device=device)
    if name not in PACKAGES:
        raise UserError(f"features.engine: {name!r}; allowed are {', '.join(map(repr, PACKAGES))}")
    missing = [package for package in PACKAGES[name] if find_spec(package) is None]
    if missing:
        raise UserError(
            f"features.engine: {name!r} needs the optional extra of this name, and {missing[0]} is not installed: "
            f"pip install 'autossvh[{name}]'"
        )
    if name == "openvino":
        from ssvh_model.video.engines.openvino import OpenVinoEngine

        return OpenVinoEngine(network, size=size, precision=known)
    from ssvh_model.video.engines.onnxruntime import OnnxRuntimeEngine

    return OnnxRuntimeEngine(network, size=size, precision=known)
