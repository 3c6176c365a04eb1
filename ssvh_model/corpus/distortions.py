"""What happens to a clip when somebody uploads it again: another crop, other colours, another speed, bars,
noise, compression.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

# The extremes, reached at strength 1. Each parameter is drawn anew for each clip, so few clips meet all of
# them.
MOST_ZOOM = 1.2
MOST_SPEED = 2.0
MOST_BARS = 0.4
MOST_NOISE = 40.0
CLEAN_QUALITY, WORST_QUALITY = 23, 45


@dataclass(frozen=True)
class Distortion:
    """The parameters of one re-upload.

    Attributes:
        speed: recorded time that passes between two frames, as a multiple of the undistorted time.
        zoom: the picture shows 1/zoom of the recording's width and height; at least 1.
        left, top: where that part lies, 0 (left or top edge) to 1 (right or bottom edge).
        hue: rotation of all colours about the grey axis, radians.
        saturation: multiplies the distance from grey.
        brightness: multiplies all colours.
        bars_beside: share of the picture's width that black bars cover; half of it on each side.
        bars_above: the same of the height.
        noise: standard deviation of the grain, in steps of 1/255.
        quality: constant rate factor of the encoder; larger is worse.
    """

    speed: float = 1.0
    zoom: float = 1.0
    left: float = 0.5
    top: float = 0.5
    hue: float = 0.0
    saturation: float = 1.0
    brightness: float = 1.0
    bars_beside: float = 0.0
    bars_above: float = 0.0
    noise: float = 0.0
    quality: int = CLEAN_QUALITY


def draw_distortion(rng: np.random.Generator, strength: float) -> Distortion:
    """Draw the parameters of one re-upload.

    The same generator state gives the same direction for every strength; the strength says how far.

    Args:
        strength: 0 (none: the result is `Distortion()` but for where the whole picture's crop would lie) to
            1.

    Raises:
        ValueError: `strength` is outside [0, 1].
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength is {strength}; allowed are 0 to 1")
    speed, hue, brightness = rng.uniform(-strength, strength, size=3)
    zoom, saturation, bars, noise, quality = rng.uniform(0, strength, size=5)
    left, top = rng.uniform(0, 1, size=2)
    beside = bool(rng.integers(2))
    return Distortion(
        speed=MOST_SPEED**speed,
        zoom=1 + MOST_ZOOM * zoom,
        left=left,
        top=top,
        hue=math.pi * hue,
        saturation=1 - 0.7 * saturation,
        brightness=1.5**brightness,
        bars_beside=MOST_BARS * bars if beside else 0.0,
        bars_above=0.0 if beside else MOST_BARS * bars,
        noise=MOST_NOISE * noise,
        quality=CLEAN_QUALITY + round((WORST_QUALITY - CLEAN_QUALITY) * quality),
    )


def picture_size(width: int, height: int, longer_side: int) -> tuple[int, int]:
    """(width, height) with the same shape and the longer one equal to `longer_side`, both rounded to even
    numbers.
    """
    scale = longer_side / max(width, height)
    return max(2, 2 * round(width * scale / 2)), max(2, 2 * round(height * scale / 2))


def colour_matrix(distortion: Distortion) -> np.ndarray:
    """The hue, saturation and brightness of `distortion` as one matrix on RGB columns, [3, 3] float64.

    The hue is a rotation about the grey axis (1, 1, 1) by Rodrigues' formula, so grey stays grey (Haeberli,
    "Matrix Operations for Image Processing", 1993).
    """
    grey = np.full((3, 3), 1 / 3)
    root = math.sqrt(1 / 3)
    cross = root * np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
    hue = math.cos(distortion.hue) * (np.eye(3) - grey) + math.sin(distortion.hue) * cross + grey
    saturation = distortion.saturation * (np.eye(3) - grey) + grey
    return distortion.brightness * saturation @ hue


def distort(
    frames: np.ndarray, distortion: Distortion, *, longer_side: int, rng: np.random.Generator
) -> np.ndarray:
    """Scale `frames` to the clip's size and apply everything but speed and compression.

    Those two are not a matter of single pictures: the player takes `speed`, the encoder takes `quality`.

    Args:
        frames: [n, height, width, 3] uint8, RGB.
        longer_side: of the result, pixels.
        rng: for the grain.

    Returns:
        [n, new height, new width, 3] uint8, the new sizes as in `picture_size`.
    """
    from PIL import Image

    count, height, width = frames.shape[:3]
    new_width, new_height = picture_size(width, height, longer_side)
    # Pillow's box, in pixels of the recording, may have fractions.
    part_width, part_height = width / distortion.zoom, height / distortion.zoom
    left, top = distortion.left * (width - part_width), distortion.top * (height - part_height)
    box = (left, top, min(width, left + part_width), min(height, top + part_height))
    inner_width = max(2, round(new_width * (1 - distortion.bars_beside)))
    inner_height = max(2, round(new_height * (1 - distortion.bars_above)))
    x, y = (new_width - inner_width) // 2, (new_height - inner_height) // 2
    matrix = colour_matrix(distortion)
    recolour = not np.array_equal(matrix, np.eye(3))
    # A row of Pillow's matrix is three factors and an offset.
    rows = tuple(np.pad(matrix, ((0, 0), (0, 1))).ravel())
    result = np.zeros((count, new_height, new_width, 3), dtype=np.uint8)
    for frame, target in zip(frames, result, strict=True):
        picture = Image.fromarray(frame).resize(
            (inner_width, inner_height), Image.Resampling.BILINEAR, box=box
        )
        if recolour:
            picture = picture.convert("RGB", rows)
        target[y : y + inner_height, x : x + inner_width] = np.asarray(picture)
    return add_grain(result, distortion.noise, rng)


def add_grain(frames: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Add normal noise of standard deviation `noise` to the brightness of each pixel, anew in each frame.

    Args:
        frames: [n, height, width, 3] uint8.
        noise: in steps of 1/255; 0 returns `frames` as they are.
    """
    if noise == 0:
        return frames
    result = np.empty_like(frames)
    # Frame by frame, because a whole clip as int16 misses the CPU's caches.
    for frame, target in zip(frames, result, strict=True):
        grain = rng.standard_normal(frame.shape[:2], dtype=np.float32)
        grain *= noise
        noisy = frame.astype(np.int16)
        noisy += grain.astype(np.int16)[..., None]
        np.clip(noisy, 0, 255, out=noisy)
        target[...] = noisy
    return result
