"""Small ONNX files, written without the package onnx: the few fields of its protocol buffers that they
need.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import torch
from torch import Tensor, nn

FLOAT, INT64 = 1, 7  # types of tensors
INTS = 7  # of attributes


def small_network(channels: int = 5) -> nn.Sequential:
    """A convolution and a ReLU whose weights are always the same: [n, 3, h, w] -> maps [n, channels, h / 2 -
    1, w / 2 - 1].
    """
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, channels, 3, stride=2), nn.ReLU()).eval()


def write_onnx(
    network: nn.Sequential,
    size: int | str | None = None,
    *,
    frames: int | str = "n",
    pooled: bool = False,
    colours: int = 3,
    outside: str = "",
    one_row: bool = False,
) -> bytes:
    """`small_network` as ONNX.

    Args:
        network: of `small_network`.
        size: of the frames that it takes; None leaves it open.
        frames: that it takes together, or the name of an open number.
        pooled: give [n, channels] instead of maps.
        colours: that its input has, as it says.
        outside: name of a file that the first weights are said to be in.
        one_row: give everything in one row, however many frames there are.
    """
    weight, bias = network[0].weight.detach(), network[0].bias.detach()
    stored = [_tensor("weight", weight, outside), _tensor("bias", bias)]
    nodes = [
        _node("Conv", ["frames", "weight", "bias"], "convolved", [_ints("strides", [2, 2])]),
        _node("Relu", ["convolved"], "maps"),
    ]
    if pooled:
        nodes += [_node("GlobalAveragePool", ["maps"], "means"), _node("Flatten", ["means"], "features")]
    if one_row:
        nodes[-1] = _node("Reshape", ["means", "one row"], "features")
        stored.append(_whole_numbers("one row", [1, -1]))
    side = "side" if size is None else size
    given = _value("frames", [frames, colours, side, side])
    found = (
        _value("features", [frames, len(bias)])
        if pooled
        else _value("maps", [frames, len(bias), "height", "width"])
    )
    graph = b"".join(
        [
            *(_bytes(1, node) for node in nodes),
            _bytes(2, b"small"),
            *(_bytes(5, tensor) for tensor in stored),
            _bytes(11, given),
            _bytes(12, found),
        ]
    )
    opset = _number(2, 13)
    return _number(1, 8) + _bytes(7, graph) + _bytes(8, opset)


def _varint(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _tensor(name: str, values: Tensor, outside: str = "") -> bytes:
    head = b"".join(_number(1, size) for size in values.shape) + _number(2, FLOAT) + _bytes(8, name.encode())
    if outside:
        return head + _bytes(13, _bytes(1, b"location") + _bytes(2, outside.encode())) + _number(14, 1)
    return head + _bytes(9, struct.pack(f"<{values.numel()}f", *values.flatten().tolist()))


def _whole_numbers(name: str, values: Sequence[int]) -> bytes:
    content = struct.pack(f"<{len(values)}q", *values)
    return _number(1, len(values)) + _number(2, INT64) + _bytes(8, name.encode()) + _bytes(9, content)


def _ints(name: str, values: Sequence[int]) -> bytes:
    return _bytes(1, name.encode()) + b"".join(_number(8, value) for value in values) + _number(20, INTS)


def _node(kind: str, inputs: Sequence[str], output: str, attributes: Sequence[bytes] = ()) -> bytes:
    return b"".join(
        [
            *(_bytes(1, name.encode()) for name in inputs),
            _bytes(2, output.encode()),
            _bytes(4, kind.encode()),
            *(_bytes(5, attribute) for attribute in attributes),
        ]
    )


def _value(name: str, shape: Sequence[int | str]) -> bytes:
    sizes = [
        _bytes(1, _bytes(2, size.encode()) if isinstance(size, str) else _number(1, size)) for size in shape
    ]
    return _bytes(1, name.encode()) + _bytes(2, _bytes(1, _number(1, FLOAT) + _bytes(2, b"".join(sizes))))
