"""Which frames of a video a person is shown: those that the sampler scored highest."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ssvh_model.moments.rerank import TimedFeatures

APART = 8  # parts of a video, of which one at least lies between two frames that are shown


def highest_scored(scores: np.ndarray, count: int) -> np.ndarray:
    """Places of the frames with the highest scores, in the order of time, [at most count] int64.

    Frames beside each other are scored alike and look alike: each is at least an eighth of the video from the
    others.

    Args:
        scores: [M].
        count: how many frames are wanted.
    """
    apart = max(1, len(scores) // APART)
    chosen: list[int] = []
    for place in np.argsort(-scores, kind="stable").tolist():
        if len(chosen) < count and all(abs(place - other) >= apart for other in chosen):
            chosen.append(place)
    return np.array(sorted(chosen), dtype=np.int64)


def highest_scored_seconds(
    timed: TimedFeatures,
    frames: int,
    count: int,
    score: Callable[[np.ndarray], np.ndarray],
) -> list[float]:
    """The seconds of a video, or of a part of it, at which the frames with the highest scores are.

    Args:
        timed: stored features, n of them.
        frames: M, that a hasher looks at; so many of the n, evenly, are scored.
        count: how many are wanted.
        score: of features [1, M, D], [1, M] (`VideoEncoder.frame_scores`).
    """
    places = np.linspace(0, len(timed.features) - 1, frames).round().astype(np.int64)
    chosen = places[highest_scored(score(timed.features[places][None])[0], count)]
    # A frame stands for the time around it.
    return [float(timed.start + (place + 0.5) * timed.step) for place in np.unique(chosen)]
