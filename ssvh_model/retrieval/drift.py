"""Whether new videos are of another kind than those that a hasher was trained on, told by their codes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ssvh_model.retrieval.codes import pack
from ssvh_model.retrieval.hamming import as_words, hamming_distances

ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class Drift:
    """What the codes of new videos show. Of chance and of videos of the same kind, about 0 is left of each
    figure.

    Attributes:
        bit_shift: mean over the bits of how far a bit's mean (-1 to 1) is from that of the training videos,
            above what so few videos differ by chance; 0 to 2.
        unseen: share of the new videos whose code is unseen: no training video's is within the radius; 0 to
            1.
        unseen_before: the same of videos that were known but not trained on.
        videos: how many new ones there are.
    """

    bit_shift: float
    unseen: float
    unseen_before: float
    videos: int

    @property
    def unseen_more(self) -> float:
        """Share of unseen codes above that of known videos, -1 to 1."""
        return self.unseen - self.unseen_before


def measure_drift(new: np.ndarray, trained: np.ndarray, known: np.ndarray, *, radius: int) -> Drift:
    """Compare codes in {-1, +1}.

    Args:
        new: [n, K], of the new videos.
        trained: [t, K], of the training videos.
        known: [k, K], of videos that the hasher was not trained on but that came with the training videos,
            such as validation videos; without any, each training video is compared with the others.
        radius: bits by which a code may differ from one that was seen; from 0.

    Raises:
        ValueError: no new codes, fewer than two training codes, or different numbers of bits.
    """
    if not len(new) or len(trained) < 2:
        raise ValueError(f"{len(new)} new and {len(trained)} training codes; allowed are 1 and 2, or more")
    unseen_before = (
        _unseen(known, trained, radius) if len(known) else _unseen(trained, trained, radius, itself=True)
    )
    return Drift(_bit_shift(new, trained), _unseen(new, trained, radius), unseen_before, len(new))


def _bit_shift(new: np.ndarray, trained: np.ndarray) -> float:
    shift = np.abs(new.mean(axis=0) - trained.mean(axis=0))
    # The mean distance of two sample means of one distribution, as if they were normal: sqrt(2 / pi) standard
    # deviations.
    variance = 1 - np.concatenate([new, trained]).mean(axis=0) ** 2
    by_chance = np.sqrt(2 / np.pi * variance * (1 / len(new) + 1 / len(trained)))
    return float((shift - by_chance).mean())


def _unseen(codes: np.ndarray, seen: np.ndarray, radius: int, *, itself: bool = False) -> float:
    """Share of `codes` that nothing in `seen` is near; `itself`: `codes` are `seen`, and being near oneself
    does not count.
    """
    words = as_words(pack(seen))
    unseen = 0
    for start in range(0, len(codes), ROWS_AT_ONCE):
        near = (hamming_distances(as_words(pack(codes[start : start + ROWS_AT_ONCE])), words) <= radius).sum(
            1
        )
        unseen += int((near <= itself).sum())
    return unseen / len(codes)
