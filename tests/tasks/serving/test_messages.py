"""Messages between the service and its processes, over real sockets."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tasks.serving.messages import LENGTH, receive, send

Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    first, second = socket.socketpair()
    with first, second:
        yield first, second


def test_what_is_sent_arrives(ends: Ends) -> None:
    numbers = np.random.default_rng(0)
    arrays = {
        "larger than what a socket holds": numbers.normal(size=(3, 500, 700)).astype(np.float32),
        "turned": np.arange(12, dtype=np.int64).reshape(3, 4).T,
        "half": np.array([1.5, -2.0], dtype=np.float16),
        "bits": np.array([0, 255], dtype=np.uint8),
        "one": np.float32(0.25) * np.ones(()),
        "none": np.empty((25, 0, 0, 3), dtype=np.uint8),
        "truth": np.array([True, False]),
    }
    said = {"do": "something", "path": "ä b/🎬.mp4", "seconds": 1.5, "cuttings": [2.0, "shots"]}
    sender = threading.Thread(target=lambda: [send(ends[0], said, arrays), send(ends[0], {}, {})])
    sender.start()
    heard, found = receive(ends[1])
    assert receive(ends[1]) == ({}, {})
    sender.join()
    assert heard == said and list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        assert found[name].flags.writeable
        np.testing.assert_array_equal(found[name], array)


def test_who_is_gone_is_told(ends: Ends) -> None:
    ends[0].sendall(LENGTH.pack(100) + b"[{")
    ends[0].close()
    with pytest.raises(EOFError):
        receive(ends[1])
    with pytest.raises(OSError):
        send(ends[1], {}, {"more": np.zeros(10**7)})


@pytest.mark.parametrize(
    ("forms", "message"),
    [
        ({"x": ["|O", [1]]}, "allowed are numbers"),
        ({"x": ["<U3", [1]]}, "allowed are numbers"),
        ({"x": ["<f8", [2**40]]}, "allowed are 2147483647"),
        ({f"x{number}": ["<f4", [2**28]] for number in range(3)}, "allowed are 2147483647"),
        ({"x": ["<f4", [-1]]}, "negative"),
        ({"x": ["<f4", ["many"]]}, "many"),
    ],
)
def test_what_is_no_message_takes_no_memory(ends: Ends, forms: dict[str, Any], message: str) -> None:
    text = json.dumps([{}, forms]).encode()
    ends[0].sendall(LENGTH.pack(len(text)) + text)
    with pytest.raises(ValueError, match=message):
        receive(ends[1])


def test_a_length_that_nothing_can_have_is_refused(ends: Ends) -> None:
    ends[0].sendall(b"\xff" * LENGTH.size)
    with pytest.raises(ValueError, match="allowed are 67108864"):
        receive(ends[1])


@pytest.mark.parametrize(
    "text", [b"\xff{]x", b"1", b"[1, 2]", b'[{}, {"x": ["no kind", [1]]}]', b'[{}, {"x": 1}]', b"[" * 10**6]
)
def test_text_that_is_none_is_refused(ends: Ends, text: bytes) -> None:
    sender = threading.Thread(target=ends[0].sendall, args=(LENGTH.pack(len(text)) + text,))
    sender.start()
    with pytest.raises(ValueError):
        receive(ends[1])
    sender.join()
