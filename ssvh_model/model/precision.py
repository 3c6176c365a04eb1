"""The arithmetic of a training step: float32, or bfloat16 where that is enough and the machine has it in
hardware.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Literal

import torch
from torch import Tensor

Precision = Literal["float32", "bfloat16"]


def best_precision(device: torch.device) -> Precision:
    """bfloat16 where the device multiplies matrices of it in hardware, else float32."""
    if device.type == "cuda":
        has_it = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_it = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bfloat16" if has_it else "float32"


@contextmanager
def arithmetic(precision: Precision, device: torch.device) -> Iterator[None]:
    """The block in which matrix products are made in a precision.

    In bfloat16, weights, sums, normalisations and what is added up along the layers stay as they are: torch's
    autocast decides by the kind of operation.
    """
    with (
        wide_float32_products(),
        torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"),
    ):
        yield


@contextmanager
def wide_float32_products() -> Iterator[None]:
    """The block in which a processor with AVX-512 makes float32 matrix products by oneDNN, in all threads.

    MKL, torch's choice, makes no use of AVX-512 on processors that are not Intel's, and takes twice as long
    there. torch has a name for oneDNN's products only where they may also be made in bfloat16, which it does
    with AMX and with nothing else; so the block changes nothing on a processor that has AMX.
    """
    if not torch.cpu._is_avx512_supported() or torch.cpu._is_amx_tile_supported():
        yield
        return
    _wide.enter()
    try:
        yield
    finally:
        _wide.leave()


_float32_products = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # which torch's stubs lack


class _Wide:
    """torch's setting, which is one for the process: as it was after the last thread has left."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._before = "none"

    def enter(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._before = _float32_products.fp32_precision
                _float32_products.fp32_precision = "bf16"

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                _float32_products.fp32_precision = self._before


_wide = _Wide()


def full_precision(values: Tensor) -> Tensor:
    """Values of bfloat16 as float32; others as they are."""
    return values.float() if values.dtype == torch.bfloat16 else values


def multiplicand(values: Tensor) -> Tensor:
    """Values in the precision in which matrix products are made here (`arithmetic`)."""
    kind = values.device.type
    return values.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else values
