"""Figures as the tables of experiments show them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation."""
    mean = f"{np.mean(values):.4f}"
    return f"{mean} ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else mean


def percent(share: float | None) -> str:
    """A share as per cent with its sign."""
    return "-" if share is None else f"{100 * share:+.1f}"
