"""How the time of one video runs in another: a straight line through the likeness of all their frames."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

SPEEDS = tuple(2.0 ** (power / 16) for power in range(-16, 17))  # half to double
LEAST_SHARED = 0.4  # of the shorter video
LEAST_MOVEMENT = 0.5  # of a frame, as a share of the video's mean; one with less counts for less


@dataclass(frozen=True)
class TimeLine:
    """Second t of the first video is second speed * t + offset of the second one.

    Attributes:
        likeness: mean over the frames that belong together, -1 to 1.
        speed: seconds of the second video that pass in one of the first.
        offset: seconds.
        shared: seconds of the first video that the second one has, of the seconds of the first, 0 to 1.
        first, second: numbers of the frames that belong together, [m] int64 each.
    """

    likeness: float
    speed: float
    offset: float
    shared: float
    first: torch.Tensor
    second: torch.Tensor


def frame_likeness(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Likeness of all frames with all, [n, m], at most 1.

    Args:
        first, second: what moves in them, [n, H, W] and [m, H, W] float32.
    """
    return _directions(first) @ _directions(second).T


def _directions(moving: torch.Tensor) -> torch.Tensor:
    flat = moving.flatten(1)
    lengths = flat.norm(dim=1, keepdim=True)
    least = LEAST_MOVEMENT * lengths.square().mean().sqrt() + 1e-3
    return flat / torch.maximum(lengths, least)


def best_time_line(likeness: torch.Tensor, *, first_step: float, second_step: float) -> TimeLine:
    """The line along which frames are most alike, the mean weighted with the root of what is shared.

    Args:
        likeness: [n, m] float32.
        first_step, second_step: seconds between two frames.
    """
    count, others = likeness.shape
    ratio = first_step / second_step
    column, inside, share, offsets = _lines(count, others, round(ratio, 6))
    along = likeness[torch.arange(count)[None, None], column] * inside
    mean = along.sum(dim=-1) / inside.sum(dim=-1).clamp(min=1)
    worth = torch.where(share > 0, mean * share.sqrt(), -1.0)
    speed, offset = divmod(int(worth.argmax()), worth.shape[1])
    rows = inside[speed, offset].nonzero()[:, 0]
    return TimeLine(
        likeness=float(mean[speed, offset]),
        speed=SPEEDS[speed],
        offset=float(offsets[offset]) * second_step,
        shared=float(share[speed, offset]),
        first=rows,
        second=column[speed, offset, rows],
    )


@lru_cache(maxsize=64)
def _lines(
    count: int, others: int, ratio: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """All lines on which enough of the shorter video lies.

    Returns:
        The second video's frame for each of the first's, [speeds, offsets, n] int64; whether there is that frame; the share of
        the shorter video that lies on the line, 0 where that is too little, [speeds, offsets]; the offsets, frames of the second.
    """
    rows = torch.arange(count, dtype=torch.float32)
    speeds = torch.tensor(SPEEDS) * ratio
    longest = int(np.ceil(count * float(speeds.max())))
    offsets = torch.arange(-longest, others + 0.5, 0.5)
    column = torch.round(rows * speeds[:, None, None] + offsets[None, :, None]).long()
    inside = (column >= 0) & (column < others)
    shorter = torch.minimum(torch.tensor(float(count)), others / speeds)[:, None]
    share = (inside.sum(dim=-1) / shorter).clamp(max=1.0)
    share = torch.where(share >= LEAST_SHARED, share, 0.0)
    possible = (share > 0).any(dim=0)
    return (
        column[:, possible].clamp(0, others - 1),
        inside[:, possible],
        share[:, possible],
        offsets[possible],
    )
