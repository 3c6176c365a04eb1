"""What an ONNX model of the user's own takes and gives, checked alike for each engine that runs it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ssvh_model.errors import UserError
from ssvh_model.video.engines.network import FRAMES_AT_ONCE, in_a_line


@dataclass(frozen=True)
class Port:
    """An input or output.

    Attributes:
        name: in the model.
        shape: None for a size that the model leaves open.
        float32: whether it is of this type.
    """

    name: str
    shape: tuple[int | None, ...]
    float32: bool

    def __str__(self) -> str:
        sizes = ", ".join("any" if size is None else str(size) for size in self.shape)
        return f"{self.name!r} [{sizes}]{'' if self.float32 else ' of another type than float32'}"


def frames_at_once(inputs: Sequence[Port], outputs: Sequence[Port], size: int) -> int:
    """How many frames the model takes together: as many as it says, or `FRAMES_AT_ONCE` if it takes any
    number.

    Raises:
        UserError: it does not take frames of `size` pixels, or does not give one row of features or maps a
            frame.
    """
    if len(inputs) != 1 or not _takes(inputs[0], size):
        raise UserError(
            f"takes {', '.join(map(str, inputs)) or 'nothing'}; allowed is one input [frames, 3, {size}, {size}] of float32, "
            "where features.size is the size"
        )
    if len(outputs) != 1 or len(outputs[0].shape) not in (2, 4) or not outputs[0].float32:
        raise UserError(
            f"gives {', '.join(map(str, outputs)) or 'nothing'}; allowed is one output [frames, D] or [frames, D, h, w] of float32"
        )
    return inputs[0].shape[0] or FRAMES_AT_ONCE


def check_rows(shape: Sequence[int], frames: int) -> None:
    """Make sure that the model gives a row for each frame: some are made for one frame, whatever they say
    that they take.

    Raises:
        UserError: it does not.
    """
    if shape[0] != frames:
        raise UserError(f"gives {list(shape)} of {frames} frames; allowed is a row a frame")


def _takes(port: Port, size: int) -> bool:
    """Whether an input takes frames of `size` pixels."""
    fits = len(port.shape) == 4 and all(
        found in (None, wanted) for found, wanted in zip(port.shape[1:], (3, size, size), strict=True)
    )
    return fits and port.float32


@contextmanager
def alone_on_disk(content: bytes) -> Iterator[Path]:
    """The model in a folder of its own. It may name other files for its weights: there are none, and it fails
    where it would take these.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(content)
        yield path


def unreadable(error: Exception, path: Path) -> UserError:
    """For a file that an engine does not read; `error` is what it says itself, of `path`."""
    reason = in_a_line(error).replace(str(path), path.name)
    if "external data" in reason.lower():
        return UserError(
            "has its weights in another file; allowed is one file, such as onnx.save(onnx.load(path), path) writes"
        )
    return UserError(f"is not an ONNX model that can be read ({reason})")
