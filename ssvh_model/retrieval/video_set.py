"""One side of a retrieval: the queries, or the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class VideoSet:
    """Videos with everything that an evaluation looks at, one entry or row a video.

    Attributes:
        ids: unique names.
        labels: what makes videos relevant to each other; empty for an unlabelled one.
        fine_labels: a second, finer labelling; empty where there is none.
        codes: the hasher's codes, [n, K] int8 in {-1, +1}.
        features: mean-pooled frame features, [n, D] float32.

    Raises:
        ValueError: the lengths disagree.
    """

    ids: Sequence[str]
    labels: Sequence[Sequence[str]]
    fine_labels: Sequence[Sequence[str]]
    codes: np.ndarray
    features: np.ndarray

    def __post_init__(self) -> None:
        for name in ("labels", "fine_labels", "codes", "features"):
            if len(getattr(self, name)) != len(self.ids):
                raise ValueError(f"{len(getattr(self, name))} {name} for {len(self.ids)} videos")
