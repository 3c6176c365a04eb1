"""The videos that a phase works on: rows of a feature file, held in memory once or read as they are
needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from ssvh_model.features import FeatureFile


@dataclass(frozen=True)
class FrameSource:
    """Some videos and how to get at their features.

    Attributes:
        ids: one entry a video.
        fetch: indices [B] int64 in 0..len-1 -> frame features [B, M, D] float16, in the order of the indices.
    """

    ids: Sequence[str]
    fetch: Callable[[np.ndarray], Tensor]

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def from_file(cls, file: FeatureFile, rows: np.ndarray, *, memory_limit: float) -> FrameSource:
        """The videos in `rows` of a feature file.

        Args:
            file: the feature file.
            rows: indices of its rows.
            memory_limit: bytes; features that fit are read at the first need and held, larger ones are read
                batch by batch.
        """
        ids = [file.ids[row] for row in rows]
        _, frames, size = file.shape
        if len(rows) * frames * size * 2 <= memory_limit:
            held = cache(lambda: file.read(rows))
            return cls(ids, lambda index: held()[torch.from_numpy(index)])
        return cls(ids, lambda index: file.read(rows[index]))

    @classmethod
    def from_tensor(cls, ids: Sequence[str], features: Tensor) -> FrameSource:
        """Videos whose features [n, M, D] are in memory."""
        return cls(ids, lambda index: features[torch.from_numpy(index)])
