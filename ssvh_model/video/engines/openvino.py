"""A network run by OpenVINO, on the processor."""

from __future__ import annotations

import sys
import tempfile
import threading
from functools import cache
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
    filled_up,
)
from ssvh_model.video.engines.onnx_file import Port, alone_on_disk, check_rows, frames_at_once, unreadable


class OpenVinoEngine:
    """Frames go through `FRAMES_AT_ONCE` at a time, or as many as an ONNX model takes; in which company
    changes nothing about their features.

    Raises:
        UserError: this processor does not have the precision.
    """

    device = torch.device("cpu")

    def __init__(self, network: ImageNetwork, *, size: int, precision: Precision) -> None:
        openvino = _openvino()
        what = {
            "engine": f"openvino {openvino.__version__}",
            "torch": torch.__version__,
            "size": size,
            **network.key,
        }
        core, hint = _core(), openvino.properties.hint.inference_precision
        wanted = openvino.Type.f32 if precision == "float32" else openvino.Type.bf16
        self._streams = torch.get_num_threads()
        # One thread each: against one batch shared by all threads this has no barriers to wait at.
        settings = {
            hint: wanted,
            "NUM_STREAMS": self._streams,
            "INFERENCE_NUM_THREADS": self._streams,
            "ENABLE_CPU_PINNING": False,
        }
        if precision == "bfloat16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise _lacks(precision)
        if network.onnx is None:
            model = core.read_model(*_unpacked(exported(what, lambda: _export(network, size))))
        else:
            model = _from_pixels(network, network.onnx, size)
        self._compiled = core.compile_model(model, "CPU", settings)
        # A hint is a wish: it may take float32 all the same.
        if self._compiled.get_property(hint) != wanted:
            raise _lacks(precision)
        self._at_once = self._compiled.input(0).shape[0]
        self._feature_size = self._compiled.output(0).shape[1]
        self._own = threading.local()  # a request is for one thread

    def __call__(self, frames: Tensor) -> Tensor:
        """Features [n, D] float32, on the CPU."""
        result = torch.empty(len(frames), self._feature_size)
        parts = frames.split(self._at_once)
        places = result.split(self._at_once)
        requests = self._requests(min(self._streams, len(parts)))
        for start in range(0, len(parts), len(requests)):
            running = list(zip(requests, parts[start:], places[start:], strict=False))
            inputs = [
                filled_up(part, self._at_once).numpy() for _, part, _ in running
            ]  # they must outlive the run
            for (request, _, _), array in zip(running, inputs, strict=True):
                request.start_async({0: array}, share_inputs=True)
            for request, part, place in running:
                request.wait()
                place.copy_(torch.from_numpy(request.get_output_tensor(0).data[: len(part)]))
        return result

    def _requests(self, count: int) -> list[Any]:
        """So many of this thread's requests."""
        requests: list[Any] = self._own.__dict__.setdefault("requests", [])
        while len(requests) < count:
            requests.append(self._compiled.create_infer_request())
        return requests[:count]


def _openvino() -> Any:
    """The package without its companion, which notes in the home folder who uses it and tells its makers,
    unasked.

    OpenVINO has a stand-in for where the companion is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


@cache
def _core() -> Any:
    """OpenVINO's core, one for all engines, for as long as the process lives.

    The processor plugin of each core puts a stack of its own in the place of the thread's stack for signals,
    and the former one back when it ends. Of two that end in the order of their beginning, the last leaves one
    that is freed: the next signal then ends the process.
    """
    return _openvino().Core()


def _lacks(precision: Precision) -> UserError:
    return UserError(
        f"features.precision: {precision!r}, which OpenVINO does not have on this processor; allowed here is 'float32'"
    )


def _export(network: ImageNetwork, size: int) -> bytes:
    """The network in OpenVINO's own form: the length of its description, the description and the weights.

    By the frontend itself: `openvino.convert_model` is made to tell of every use.
    """
    openvino = _openvino()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    shape = (FRAMES_AT_ONCE, size, size, 3)
    example = torch.zeros(shape)
    traced = TorchScriptPythonDecoder(
        FromPixels(network), example_input=example, trace_kwargs={"check_trace": False}
    )
    frontend = FrontEndManager().load_by_framework("pytorch")
    model = frontend.convert(frontend.load(traced))
    model.reshape(shape)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.xml"
        openvino.save_model(model, path, compress_to_fp16=False)
        description = path.read_bytes()
        weights = path.with_suffix(".bin").read_bytes()
    return len(description).to_bytes(8, "little") + description + weights


def _from_pixels(network: ImageNetwork, content: bytes, size: int) -> Any:
    """An ONNX model behind what it wants done to frames, its maps, if it gives any, averaged."""
    openvino = _openvino()
    from openvino.frontend import FrontEndManager

    frontend = FrontEndManager().load_by_framework("onnx")  # others would take what is no ONNX
    with alone_on_disk(content) as path:
        try:
            model = frontend.convert(frontend.load(str(path)))
        except Exception as error:  # it has kinds of its own
            raise unreadable(error, path) from error
    inputs, outputs = ([_port(one) for one in ports] for ports in (model.inputs, model.outputs))
    at_once = frames_at_once(inputs, outputs, size)
    model.reshape([at_once, 3, size, size])
    check_rows(model.output(0).shape, at_once)
    if len(outputs[0].shape) == 4:
        mean = openvino.opset13.reduce_mean(model.get_results()[0].input_value(0), [2, 3], keep_dims=False)
        model = openvino.Model([mean], model.get_parameters())
    frames = openvino.preprocess.PrePostProcessor(model)
    frames.input().tensor().set_layout(openvino.Layout("NHWC"))
    frames.input().model().set_layout(openvino.Layout("NCHW"))
    steps = frames.input().preprocess()
    steps.mean([255 * mean for mean in network.mean]).scale([255 * std for std in network.std])
    if network.colours == "bgr":
        steps.reverse_channels()
    return frames.build()


def _port(one: Any) -> Port:
    shape = one.get_partial_shape()
    rank = shape.rank.get_length() if shape.rank.is_static else 0
    sizes = tuple(shape[axis].get_length() if shape[axis].is_static else None for axis in range(rank))
    return Port(one.get_any_name(), sizes, one.get_element_type() == _openvino().Type.f32)


def _unpacked(content: bytes) -> tuple[bytes, bytes]:
    end = 8 + int.from_bytes(content[:8], "little")
    return content[8:end], content[end:]
