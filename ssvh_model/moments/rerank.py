"""A finer order of what codes have found: by the frames' features, aligned in time, which also tells where a
moment begins exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ssvh_model.copies.time_line import SPEEDS, FrameLikeness, best_time_line
from ssvh_model.moments.matching import Group, Moment, Rows, find_shortlist
from ssvh_model.moments.query import Query

Rerank = Literal["none", "soft", "features"]

SHORTLIST = 100  # places that are looked at, or as many as are wanted if these are more


@dataclass(frozen=True)
class TimedFeatures:
    """Features of frames that follow each other evenly in time.

    Attributes:
        features: [n, D] float16.
        step: seconds between two frames.
        start: second of the video at which the first one's share of the time begins.
        seconds: of the video; infinite if it does not matter.
        whole: whether these are all frames of a whole video, which may be faster or slower than another of
            the same recording.
    """

    features: np.ndarray
    step: float
    start: float = 0.0
    seconds: float = float("inf")
    whole: bool = False


# The stored features of a row's video from one second to another, or more; None where there are none.
FeaturesOf = Callable[[int, float, float], TimedFeatures | None]


def find_reranked(
    query: Query,
    rows: Rows,
    count: int,
    group: Group,
    features_of: FeaturesOf,
    centred: Callable[[Tensor], Tensor],
) -> list[Moment]:
    """As `find_moments`, by the likeness of frames among those that codes find.

    Args:
        query, rows, count, group: as for `find_moments`.
        features_of, centred: as for `rerank_moments`.
    """
    by_codes = find_shortlist(query, rows, max(count, SHORTLIST))
    ordered = rerank_moments(query, by_codes, features_of, centred)
    found: list[Moment] = []
    taken: dict[int, list[float]] = {}
    for moment in ordered:
        video = moment.row if rows.films is None else int(rows.films.first_rows[moment.row])
        starts = taken.setdefault(video, [])
        # Several of the shortlist may turn out to be the same place.
        if not starts or (
            group == "none"
            and all(abs(moment.start - start) >= (moment.end - moment.start) / 2 for start in starts)
        ):
            starts.append(moment.start)
            found.append(moment)
    return found[:count]


def rerank_moments(
    query: Query,
    moments: Sequence[Moment],
    features_of: FeaturesOf,
    centred: Callable[[Tensor], Tensor],
) -> list[Moment]:
    """Places by the likeness of their frames, the likeliest first; those without stored features stay behind,
    in their order.

    Args:
        query: that is searched for.
        moments: the shortlist.
        features_of: features of what lies there.
        centred: takes off features [B, n, D] what all of them have (`VideoHasher.center`).

    Returns:
        The places with their likeness and, in films, with a finer start and end.
    """
    compared, others = [], []
    for moment in moments:
        part = _timed(query, moment)
        # A place that codes found may be off by as much as a segment, to either side.
        around = moment.end - moment.start
        known = features_of(moment.row, moment.start - around, moment.end + around)
        if part is None or known is None:
            others.append(moment)
            continue
        likeness, begin = align(part, known, centred)
        if known.whole:
            compared.append(replace(moment, likeness=likeness))
        else:
            end = min(begin + query.seconds, known.seconds)
            compared.append(replace(moment, likeness=likeness, start=max(0.0, begin), end=end))
    compared.sort(key=lambda moment: (-(moment.likeness or 0.0), moment.distance, moment.row))
    return compared + others


def align(
    first: TimedFeatures, second: TimedFeatures, centred: Callable[[Tensor], Tensor]
) -> tuple[float, float]:
    """How alike two videos are along the best line through their time.

    Args:
        first, second: their features.
        centred: takes off features what all of them have.

    Returns:
        The mean cosine along the line times the root of the share of the first video that lies on it, at most
        1, and the second of the second video at which the first begins.
    """
    cosines = _directions(first, centred) @ _directions(second, centred).T
    line = best_time_line(
        FrameLikeness(cosines, torch.ones_like(cosines)),
        first_step=first.step,
        second_step=second.step,
        speeds=SPEEDS if second.whole else (1.0,),
    )
    # A frame stands for the time around it: frame 0 is half a step after the start of its share.
    begin = second.start + line.offset + second.step / 2 - line.speed * first.step / 2
    return line.likeness * (len(line.first) / len(cosines)) ** 0.5, begin


def _timed(query: Query, moment: Moment) -> TimedFeatures | None:
    """The finest features that are known of the query."""
    if query.parts:
        part = min(query.parts, key=lambda one: one.step)
        return TimedFeatures(part.features, part.step)
    if query.features is None:
        return None
    seconds = query.seconds or moment.end - moment.start or 1.0
    return TimedFeatures(query.features, seconds / len(query.features))


def _directions(timed: TimedFeatures, centred: Callable[[Tensor], Tensor]) -> Tensor:
    values = centred(torch.from_numpy(timed.features).float()[None])[0]
    return torch.nn.functional.normalize(values, dim=1)
