"""Whether two videos show the same recording: cropped, recoloured, faster, shifted, with bars or grain,
mirrored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from ssvh_model.copies.compared_frames import ComparedFrames
from ssvh_model.copies.placement import UNMOVED, PlacedVideo, Placement, placed, placements, refined
from ssvh_model.copies.time_line import TimeLine, best_time_line, frame_likeness

# The score is the logistic function of a weighted sum: of the likeness along the time line times the root of
# what is shared, of the likeness of the pictures, of how far the line stands out from others, and of how
# much faster or slower one video is, in octaves. `benchmarks/copy_weights.py` fits the weights, on corpora
# that nothing is judged on.
LINE_WEIGHT, PICTURE_WEIGHT, DISTINCT_WEIGHT, SPEED_WEIGHT, BIAS = 9.49, 3.04, 1.49, -2.04, -13.28
REFINEMENTS = 2
# Steps of 255. Where less than that moves in both videos, their pictures alone decide.
STANDS_STILL = 0.1
# Of these: between what pairs of other recordings have and those of one, so that a picture must be alike by
# 0.8 or so.
DISTINCT_STILL = 2.5


@dataclass(frozen=True)
class Match:
    """What a comparison of two videos found.

    Attributes:
        score: how likely it is that they show one recording, 0 to 1; by the two alone where nothing else is
            said.
        line: likeness along the time line times the root of the share of the shorter video that both have, at
            most 1. Where nothing moves, likeness of the pictures times the root of the share of the smaller
            one that both show.
        picture: likeness of the pictures at their likeliest place, at most 1.
        distinct: how far the time line stands out from all that were tried, in standard deviations;
            `DISTINCT_STILL` where nothing moves.
        speed: seconds of the second video that pass in one of the first.
        first_span, second_span: start and end of what both show, seconds of each.
        mirrored: whether the first is the second's mirror image.
    """

    score: float
    line: float
    picture: float
    distinct: float
    speed: float
    first_span: tuple[float, float]
    second_span: tuple[float, float]
    mirrored: bool = False

    @property
    def other_way_round(self) -> Match:
        """The same with the first video as the second."""
        return replace(
            self,
            speed=1 / self.speed,
            first_span=self.second_span,
            second_span=self.first_span,
        )


def compare(first: PlacedVideo, second: PlacedVideo, *, mirrored: bool = False) -> Match:
    """Compare two videos. Which of them comes first makes no difference to the score.

    Args:
        first, second: their frames.
        mirrored: whether mirror images count, too; takes twice the time.
    """
    # Laying one picture over the other gives other rounding than the reverse, so what they show says which
    # is laid.
    if first.frames.movement < second.frames.movement:
        return compare(second, first, mirrored=mirrored).other_way_round
    match = _compare(first, second, mirrored=False)
    if not mirrored:
        return match
    turned = _compare(first.mirrored, second, mirrored=True)
    return max(match, turned, key=lambda one: one.score)


def _compare(first: PlacedVideo, second: PlacedVideo, *, mirrored: bool) -> Match:
    found = placements(first, second)
    likeliest = max([*found, UNMOVED], key=lambda place: place.likeness)
    if max(first.frames.movement, second.frames.movement) < STANDS_STILL:
        # The mean frames are all there is, so they are looked at as closely as what moves is otherwise.
        place = refined(first.frames.still[:1], second.frames.still[:1], likeliest)
        line, picture, speed = place.likeness * math.sqrt(place.shared), place.likeness, 1.0
        distinct = DISTINCT_STILL
        spans = [(0.0, len(frames.moving) * frames.step) for frames in (first.frames, second.frames)]
    else:
        time = _best_line(first.frames, second.frames, found)
        line, picture, speed = time.worth, likeliest.likeness, time.speed
        distinct = time.distinct
        spans = [_span(time.first, first.frames.step), _span(time.second, second.frames.step)]
    return Match(
        score=score_of(line, picture, distinct, speed),
        line=line,
        picture=picture,
        distinct=distinct,
        speed=speed,
        first_span=spans[0],
        second_span=spans[1],
        mirrored=mirrored,
    )


def score_of(line: float, picture: float, distinct: float, speed: float) -> float:
    """How likely it is by the figures of a comparison, see `Match`, that both show one recording, 0 to 1."""
    weighted = LINE_WEIGHT * line + PICTURE_WEIGHT * picture + DISTINCT_WEIGHT * distinct + BIAS
    weighted += SPEED_WEIGHT * abs(math.log2(speed))
    return 1 / (1 + math.exp(-weighted))


def _best_line(first: ComparedFrames, second: ComparedFrames, found: list[Placement]) -> TimeLine:
    """The time line along which what moves is most alike, at a place of the picture that is refined for
    that.
    """
    line, place = max(
        ((_line(first, second, place), place) for place in [*found, UNMOVED]),
        key=lambda both: both[0].worth,
    )
    for _ in range(REFINEMENTS):
        closer = refined(first.moving[line.first], second.moving[line.second], place)
        again = _line(first, second, closer)
        if again.worth <= line.worth:
            break
        line, place = again, closer
    return line


def _line(first: ComparedFrames, second: ComparedFrames, place: Placement) -> TimeLine:
    laid, shown = placed(first.moving, place)
    likeness = frame_likeness(laid, second.moving * shown)
    return best_time_line(likeness, first_step=first.step, second_step=second.step)


def _span(frames: torch.Tensor, step: float) -> tuple[float, float]:
    return int(frames.min()) * step, (int(frames.max()) + 1) * step
