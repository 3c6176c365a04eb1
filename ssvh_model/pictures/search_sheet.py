"""A sheet that shows one query and its nearest videos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from ssvh_model.pictures.canvas import Thumbnail, fitted, font, save_image, shortened
from ssvh_model.pictures.style import BLUE, GREY, INK, PALE, SHADE

SIDE = 150
GAP = 20
MARGIN = 28
COLUMNS = 5
TEXT = 62  # pixels below a picture
TOP = 74


@dataclass(frozen=True)
class Found:
    """One found video.

    Attributes:
        id, label: what is written below it.
        distance: Hamming distance to the query, bits.
        duration: seconds; 0 if unknown.
        thumbnail: one of its frames; None if there is no file to take it from.
        start: second of the video at which what was found begins; None if that is all of it.
    """

    id: str
    label: str
    distance: int
    duration: float
    thumbnail: Thumbnail | None
    start: float | None = None


def draw_search_sheet(
    path: Path, *, query: str, frames: Sequence[Thumbnail], found: Sequence[Found], bits: int, remark: str
) -> None:
    """Write the sheet: frames of the query at the top, then the found videos, nearest first, with a bar for
    the distance.

    Args:
        path: the PNG to write.
        query: its name.
        frames: of the query, at most `COLUMNS` are shown.
        found: nearest first.
        bits: K, the length of a full bar.
        remark: what was searched, in a line.
    """
    width = 2 * MARGIN + COLUMNS * (SIDE + GAP) - GAP
    shown = [fitted(frame, SIDE) for frame in frames[:COLUMNS]]
    strip = max((image.height for image in shown), default=0)
    pictures = [fitted(one.thumbnail, SIDE) if one.thumbnail is not None else _nothing() for one in found]
    rows = [range(start, min(start + COLUMNS, len(found))) for start in range(0, len(found), COLUMNS)]
    heights = [max(pictures[place].height for place in row) for row in rows]
    height = TOP + strip + 34 + sum(tall + TEXT + GAP for tall in heights) + MARGIN - GAP
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    title, plain = font(21, bold=True), font(13)
    draw.text((MARGIN, 16), shortened(f"Nearest to {query}", width - 2 * MARGIN, title), font=title, fill=INK)
    draw.text((MARGIN, 46), shortened(remark, width - 2 * MARGIN, plain), font=plain, fill=GREY)
    for place, image in enumerate(shown):
        sheet.paste(image, (MARGIN + place * (SIDE + GAP), TOP))
    y = TOP + strip + 16
    draw.line([(MARGIN, y), (width - MARGIN, y)], fill=PALE, width=2)
    y += 18
    for row, tall in zip(rows, heights, strict=True):
        for column, place in enumerate(row):
            x = MARGIN + column * (SIDE + GAP)
            sheet.paste(pictures[place], (x, y + tall - pictures[place].height))
            _caption(draw, x, y + tall + 6, found[place], bits)
        y += tall + TEXT + GAP
    save_image(sheet, path)


def _caption(draw: ImageDraw.ImageDraw, x: int, y: int, found: Found, bits: int) -> None:
    """A bar as long as the distance, and three short lines."""
    draw.rectangle((x, y, x + SIDE - 1, y + 4), fill=SHADE)
    if found.distance:
        draw.rectangle((x, y, x + max(2, round(found.distance / bits * SIDE)) - 1, y + 4), fill=BLUE)
    bold, plain = font(12, bold=True), font(11)
    length = f", {found.duration:.1f} s" if found.duration else ""
    if found.start is not None:
        length = f", at {found.start:.1f} s"
    bits_apart = f"{found.distance} bit{'' if found.distance == 1 else 's'} apart{length}"
    draw.text((x, y + 10), shortened(found.label or "no label", SIDE, bold), font=bold, fill=INK)
    draw.text((x, y + 27), shortened(found.id, SIDE, plain), font=plain, fill=GREY)
    draw.text((x, y + 43), bits_apart, font=plain, fill=INK)


def _nothing() -> Image.Image:
    """What stands for a video that can't be shown."""
    image = Image.new("RGB", (SIDE, round(SIDE * 0.7)), SHADE)
    ImageDraw.Draw(image).text(
        (SIDE / 2, image.height / 2), "no file to show", font=font(12), fill=GREY, anchor="mm"
    )
    return image
