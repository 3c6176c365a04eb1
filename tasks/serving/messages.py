"""Messages between the service and its processes: JSON and numpy arrays, read from the socket into the arrays
themselves. Nothing that comes from a process is unpickled, and a message takes no more memory than it may.
"""

from __future__ import annotations

import json
import math
import socket
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

MOST_JSON = 2**26  # bytes
MOST_ARRAYS = 2**31 - 1  # bytes of all arrays of a message
LENGTH = struct.Struct("!Q")
KINDS = "biuf"  # of numbers in arrays: truth values, whole numbers, floats

Arrays = Mapping[str, np.ndarray]


def send(connection: socket.socket, said: Mapping[str, Any], arrays: Arrays) -> None:
    """Send a message.

    Args:
        connection: to whom.
        said: becomes JSON.
        arrays: that go with it, of numbers.

    Raises:
        OSError: nobody is there any more.
    """
    contents = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    forms = {name: (array.dtype.str, array.shape) for name, array in contents.items()}
    text = json.dumps([said, forms]).encode()
    connection.sendall(LENGTH.pack(len(text)) + text)
    for array in contents.values():
        if array.size:
            connection.sendall(array.reshape(-1).view(np.uint8).data)


def receive(connection: socket.socket) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Wait for the next message.

    Returns:
        What `send` was given.

    Raises:
        EOFError: nobody is there any more.
        OSError: the connection is broken.
        ValueError: it is no message, or larger than one may be.
    """
    length = bytearray(LENGTH.size)
    _fill(connection, memoryview(length))
    (size,) = LENGTH.unpack(length)
    if size > MOST_JSON:
        raise ValueError(f"a message of {size} bytes; allowed are {MOST_JSON}")
    text = bytearray(size)
    _fill(connection, memoryview(text))
    try:
        said, forms = json.loads(text)
        arrays = _empty_arrays(forms)
    except (TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"no message: {error}") from error
    for array in arrays.values():
        if array.size:
            _fill(connection, array.reshape(-1).view(np.uint8).data)
    return said, arrays


def _empty_arrays(forms: Mapping[str, tuple[str, list[int]]]) -> dict[str, np.ndarray]:
    kinds = {name: np.dtype(kind) for name, (kind, _) in forms.items()}
    if any(kind.kind not in KINDS for kind in kinds.values()):
        raise ValueError(f"arrays of {sorted(map(str, kinds.values()))}; allowed are numbers")
    shapes = {name: tuple(map(int, shape)) for name, (_, shape) in forms.items()}
    total = sum(kind.itemsize * math.prod(shapes[name]) for name, kind in kinds.items())
    if total > MOST_ARRAYS:
        raise ValueError(f"arrays of {total} bytes; allowed are {MOST_ARRAYS}")
    return {name: np.empty(shapes[name], dtype=kind) for name, kind in kinds.items()}


def _fill(connection: socket.socket, space: memoryview) -> None:
    while space:
        count = connection.recv_into(space)
        if not count:
            raise EOFError("nobody is there any more")
        space = space[count:]
