"""How the time of one video runs in another: a straight line through the likeness of all their frames."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F

# Half to double; of those that fit as well the one that changes least comes first.
SPEEDS = tuple(2.0 ** (power / 16) for power in sorted(range(-16, 17), key=abs))
LEAST_SHARED = 0.4  # of the shorter video
LEAST_MOVEMENT = 0.5  # of a frame, as a share of the video's median; one with less counts for less
LEAST_DEVIATION = 0.02  # is added to the lines' own: where all are alike, a little more is not much
# of a line's frames on average, so that one on which nearly nothing moves is not taken for a likely one
LEAST_WEIGHT = 0.25


@dataclass(frozen=True)
class TimeLine:
    """Second t of the first video is second speed * t + offset of the second one.

    Attributes:
        likeness: mean over the frames that belong together, -1 to 1.
        speed: seconds of the second video that pass in one of the first.
        offset: seconds.
        shared: seconds of the first video that the second one has, of the seconds of the first, 0 to 1.
        mean, deviation: mean and standard deviation, over all lines that were tried, of the likeness times
            the root of what is shared.
        first, second: numbers of the frames that belong together, [m] int64 each.
    """

    likeness: float
    speed: float
    offset: float
    shared: float
    mean: float
    deviation: float
    first: torch.Tensor
    second: torch.Tensor

    @property
    def worth(self) -> float:
        """Likeness times the root of what is shared, -1 to 1."""
        return self.likeness * math.sqrt(self.shared)

    @property
    def distinct(self) -> float:
        """How far the line stands out from all lines that were tried, in standard deviations.

        Where movement repeats itself, or all of it looks alike, many lines are likely, and so is that of
        another recording.
        """
        return (self.worth - self.mean) / (self.deviation + LEAST_DEVIATION)


@dataclass(frozen=True)
class FrameLikeness:
    """How alike all frames of two videos are.

    Attributes:
        products: of what moves, each frame's divided by its length, or by `LEAST_MOVEMENT` if less moves, [n,
            m], at most 1.
        weights: what the product would be if the frame in which more moves were compared with itself, [n, m],
            at most 1.
    """

    products: torch.Tensor
    weights: torch.Tensor


def frame_likeness(first: torch.Tensor, second: torch.Tensor) -> FrameLikeness:
    """Compare all frames with all.

    Args:
        first, second: what moves in them, [n, H, W] and [m, H, W] float32.
    """
    first, second = _directions(first), _directions(second)
    lengths = torch.maximum(first.norm(dim=1)[:, None], second.norm(dim=1)[None])
    return FrameLikeness(first @ second.T, lengths.square())


def _directions(moving: torch.Tensor) -> torch.Tensor:
    flat = moving.flatten(1)
    lengths = flat.norm(dim=1, keepdim=True)
    return flat / torch.maximum(lengths, LEAST_MOVEMENT * lengths.median() + 1e-3)


def best_time_line(
    likeness: FrameLikeness, *, first_step: float, second_step: float, speeds: tuple[float, ...] = SPEEDS
) -> TimeLine:
    """The line along which frames are most alike, the mean weighted with the root of what is shared.

    A frame in which little moves, in both videos, counts for little.

    Args:
        likeness: of all frames.
        first_step, second_step: seconds between two frames.
        speeds: that are tried, the likeliest first.
    """
    count, others = likeness.products.shape
    ratio = first_step / second_step
    cells, shared, share, offsets = _lines(count, others, round(ratio, 6), speeds)
    products, weights = (
        # The cell behind the last one stands for what lies outside.
        F.pad(part.flatten(), (0, 1))[cells].sum(dim=-1)
        for part in (likeness.products, likeness.weights)
    )
    mean = products / torch.maximum(weights, LEAST_WEIGHT * shared.clamp(min=1))
    worth = torch.where(share > 0, mean * share.sqrt(), -1.0)
    speed, offset = divmod(int(worth.argmax()), worth.shape[1])
    tried = worth[share > 0]
    along = cells[speed, offset].long()
    along = along[along < count * others]
    return TimeLine(
        likeness=float(mean[speed, offset]),
        speed=speeds[speed],
        offset=float(offsets[offset]) * second_step,
        shared=float(share[speed, offset]),
        mean=float(tried.mean()),
        deviation=float(tried.std(correction=0)),
        first=along // others,
        second=along % others,
    )


@lru_cache(maxsize=8)  # 50 MB each for two videos of half a minute and more
def _lines(
    count: int, others: int, ratio: float, tried: tuple[float, ...]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """All lines on which enough of the shorter video lies.

    A second video that is much shorter meets few frames of the first on each line, so that only as many are
    kept: of a film and a clip, whose steps are unlike, there are very many lines.

    Returns:
        The cells, first's frame * others + second's frame, that lie on each line, [speeds, offsets, frames]
        int32, count * others where there is none; how many there are, [speeds, offsets] int64; the share of
        the shorter video that lies on the line, 0 where that is too little, [speeds, offsets]; the offsets,
        frames of the second.
    """
    speeds = torch.tensor(tried) * ratio
    longest = int(np.ceil(count * float(speeds.max())))
    offsets = torch.arange(-longest, others + 0.5, 0.5)
    most = min(count, math.ceil(others / float(speeds.min())) + 2)  # one more at either end, for rounding
    start = ((-0.5 - offsets) / speeds[:, None]).floor().clamp(0, count - most)
    rows = start[..., None] + torch.arange(most, dtype=torch.float32)
    column = torch.round(rows * speeds[:, None, None] + offsets[None, :, None])
    inside = (column >= 0) & (column < others)
    shared = inside.sum(dim=-1)
    shorter = torch.minimum(torch.tensor(float(count)), others / speeds)[:, None]
    share = (shared / shorter).clamp(max=1.0)
    share = torch.where(share >= LEAST_SHARED, share, 0.0)
    cells = torch.where(inside, rows * others + column, float(count * others)).int()
    possible = (share > 0).any(dim=0)
    return cells[:, possible], shared[:, possible], share[:, possible], offsets[possible]
