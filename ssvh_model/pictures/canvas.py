"""What both sheets of thumbnails are drawn with."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ssvh_model.files import atomic_path

Thumbnail = Image.Image | np.ndarray
"""A picture, or its pixels [height, width, 3] uint8."""


@lru_cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and looks the same on every machine."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)


def fitted(thumbnail: Thumbnail, side: int) -> Image.Image:
    """The thumbnail in RGB with its longer side `side` pixels long."""
    image = (
        thumbnail
        if isinstance(thumbnail, Image.Image)
        else Image.fromarray(np.asarray(thumbnail, dtype=np.uint8))
    )
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def shortened(text: str, width: int, face: ImageFont.FreeTypeFont) -> str:
    """The text, its middle left out where it is wider than `width` pixels; one line whatever it holds."""
    text = " ".join(text.split())
    if face.getlength(text) <= width:
        return text
    for keep in range(len(text) - 1, 0, -1):
        shorter = text[: (keep + 1) // 2] + "…" + text[len(text) - keep // 2 :]
        if face.getlength(shorter) <= width:
            return shorter
    return "…"


def mark(
    draw: ImageDraw.ImageDraw, centre: tuple[float, float], radius: float, colour: str, kind: str
) -> None:
    """A disc with a tick ("right"), a cross ("wrong") or a question mark drawn on it."""
    x, y = centre
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour, outline="white", width=2)
    part = radius * 0.45
    if kind == "right":
        draw.line(
            [(x - part, y), (x - part * 0.2, y + part * 0.8), (x + part, y - part * 0.8)],
            fill="white",
            width=3,
        )
    elif kind == "wrong":
        draw.line([(x - part, y - part), (x + part, y + part)], fill="white", width=3)
        draw.line([(x - part, y + part), (x + part, y - part)], fill="white", width=3)
    else:
        draw.text((x, y), "?", font=font(round(radius * 1.4), bold=True), fill="white", anchor="mm")


def save_image(image: Image.Image, path: Path) -> None:
    """Write as PNG, atomically."""
    with atomic_path(path) as temporary:
        # Smaller by a tenth at the most, they would take seven times as long.
        image.save(temporary, format="PNG", compress_level=3)
