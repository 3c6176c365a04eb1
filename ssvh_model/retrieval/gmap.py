"""GMAP: one figure for the whole MAP@K curve."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

MAP_KS = (5, 20, 40, 60, 80, 100)
"""The K of every MAP@K in this project, those that the field reports."""


def gmap(map_at_k: Mapping[int, float]) -> float:
    """Geometric mean of MAP@K over `MAP_KS`; 0 if any of them is 0.

    Raises:
        KeyError: one of the K is missing.
    """
    values = np.array([map_at_k[k] for k in MAP_KS], dtype=np.float64)
    if np.any(values <= 0):
        return 0.0
    return float(np.exp(np.log(values).mean()))
