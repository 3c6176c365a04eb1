"""Where tensors live: one parameter, `running.device`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ssvh_model.errors import UserError

if TYPE_CHECKING:
    import torch


def pick_device(setting: str) -> torch.device:
    """The device that `running.device` means: "auto" is a GPU if there is one.

    Raises:
        UserError: "cuda" without a CUDA GPU.
    """
    import torch

    if setting == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if setting == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "params.yaml: running.device is 'cuda', but torch finds no CUDA GPU; allowed here are auto | cpu"
        )
    return torch.device(setting)


def pick_workers(setting: int) -> int:
    """Number of processes that `running.workers` means: 0 is one a core that this process may use."""
    if setting:
        return setting
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
