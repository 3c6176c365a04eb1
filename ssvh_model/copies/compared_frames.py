"""What of a video is compared: small grey frames without black bars, and what moves in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ssvh_model.video.decoding import probe, sample_frames

SIDE = 64  # of a frame that is compared, pixels
LONGER_SIDE = 128  # of a frame that it is made from
FRAMES_A_SECOND = 7.5
FEWEST_FRAMES, MOST_FRAMES = 16, 240
# A row or column belongs to a bar if it is never brighter than this share of the brightest one, and this many
# steps of 255.
BAR_SHARE, BAR_STEPS = 0.15, 2.0
# Standard deviations of a normal distribution in its median absolute deviation; movement below one is taken
# for noise.
DEVIATIONS = 1.4826


@dataclass(frozen=True)
class ComparedFrames:
    """Frames of one video, evenly in time.

    Attributes:
        still: mean over the frames and standard deviation, without what is the same all around, [2, SIDE,
            SIDE] float32.
        moving: what differs from the mean frame, [n, SIDE, SIDE] float32.
        step: seconds between two frames.
    """

    still: torch.Tensor
    moving: torch.Tensor
    step: float

    @property
    def movement(self) -> float:
        """Root mean square of what moves, steps of 255."""
        return float(self.moving.square().mean().sqrt())

    def mirrored(self) -> ComparedFrames:
        """The same, left and right changed."""
        return ComparedFrames(self.still.flip(-1), self.moving.flip(-1), self.step)


def read_frames(path: Path) -> ComparedFrames:
    """Decode a video's frames for a comparison.

    Raises:
        UnreadableVideo: with the reason.
    """
    seconds = probe(path).duration
    count = int(np.clip(round(seconds * FRAMES_A_SECOND), FEWEST_FRAMES, MOST_FRAMES))
    frames = sample_frames(path, count, longer_side=LONGER_SIDE).frames
    return compared_frames(frames, step=seconds / count)


def compared_frames(frames: np.ndarray, *, step: float) -> ComparedFrames:
    """The same of frames that are decoded.

    Grey is the mean of the three colours, which a turn of the hue leaves as it is.

    Args:
        frames: [n, H, W, 3] uint8, RGB, evenly in time.
        step: seconds between two.
    """
    grey = torch.from_numpy(np.ascontiguousarray(frames)).float().mean(dim=-1)
    grey = _without_bars(grey)
    grey = F.interpolate(grey[:, None], size=(SIDE, SIDE), mode="area")[:, 0]
    still = torch.stack([grey.mean(dim=0), grey.std(dim=0)])
    return ComparedFrames(_flat(still), _moving(grey), step)


def _without_bars(grey: torch.Tensor) -> torch.Tensor:
    """The frames [n, h, w] without the rows and columns that are dark in nearly all of them; as much from
    either side.
    """
    bright = torch.quantile(grey, 0.9, dim=0)
    cuts = []
    for profile in (bright.mean(dim=1), bright.mean(dim=0)):
        lit = (profile > BAR_SHARE * profile.max() + BAR_STEPS).nonzero()[:, 0]
        cuts.append(min(int(lit[0]), len(profile) - 1 - int(lit[-1])) if len(lit) else 0)
    above, beside = cuts
    return grey[:, above : grey.shape[1] - above, beside : grey.shape[2] - beside]


def _flat(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures [n, h, w] less their surroundings' mean, each divided by its standard deviation."""
    around = F.avg_pool2d(F.pad(pictures[:, None], (5, 5, 5, 5), mode="replicate"), 11, 1)[:, 0]
    flat = pictures - around
    return flat / (flat.flatten(1).std(dim=1)[:, None, None] + 1e-3)


def _moving(grey: torch.Tensor) -> torch.Tensor:
    """What differs from the mean frame by more than noise, blurred by a pixel and by a frame.

    The blur lets things match that were sampled half a step apart, or that a screen shows in every other
    frame only.
    """
    moving = grey - grey.mean(dim=0)
    noise = DEVIATIONS * moving.abs().median()
    moving = F.softshrink(moving, float(noise))
    moving = F.avg_pool2d(moving[:, None], 3, 1, 1, count_include_pad=False)[:, 0]
    longer = torch.cat([moving[:1], moving, moving[-1:]])
    return (longer[:-2] + 2 * longer[1:-1] + longer[2:]) / 4
