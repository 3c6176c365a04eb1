"""The arithmetic of a training step: float32, or bfloat16 where that is enough and the machine has it in
hardware.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
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


def arithmetic(precision: Precision, device: torch.device) -> AbstractContextManager[None]:
    """The block in which matrix products are made in a precision.

    In bfloat16, weights, sums, normalisations and what is added up along the layers stay as they are: torch's
    autocast decides by the kind of operation.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def full_precision(values: Tensor) -> Tensor:
    """Values of bfloat16 as float32; others as they are."""
    return values.float() if values.dtype == torch.bfloat16 else values


def multiplicand(values: Tensor) -> Tensor:
    """Values in the precision in which matrix products are made here (`arithmetic`)."""
    kind = values.device.type
    return values.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else values
