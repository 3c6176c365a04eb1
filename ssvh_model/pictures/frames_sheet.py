"""Contact sheet of sampled frames: what Grade-Net scores how, what is chosen, and where bad frames were
planted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageDraw

from ssvh_model.pictures.canvas import Thumbnail, fitted, font, save_image, shortened
from ssvh_model.pictures.style import BLUE, GREY, INK, PALE, VERMILLION

SIDE = 92
GAP = 10
MARGIN = 24
FRAME = 4
ACROSS = 15
"""Frames in a line at most; a video of more goes on in the next."""


@dataclass(frozen=True)
class FrameStrip:
    """One video on the sheet.

    Attributes:
        id, label: what is written above it.
        thumbnails: its M sampled frames in time order.
        scores: Grade-Net's scores of them in (0, 1), M; None where there is no Grade-Net.
        chosen: which of them are visible to the encoder, M.
        bad: position among the M -> kind of a planted bad frame.
    """

    id: str
    label: str
    thumbnails: Sequence[Thumbnail]
    scores: Sequence[float] | None
    chosen: Sequence[bool]
    bad: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.chosen) != len(self.thumbnails):
            raise ValueError(f"{self.id}: {len(self.chosen)} choices for {len(self.thumbnails)} frames")
        if self.scores is not None and len(self.scores) != len(self.thumbnails):
            raise ValueError(f"{self.id}: {len(self.scores)} scores for {len(self.thumbnails)} frames")


def draw_frames_sheet(path: Path, strips: Sequence[FrameStrip], *, title: str) -> None:
    """Write the sheet, one video below the other.

    Args:
        path: the PNG to write.
        strips: the videos.
        title: what the sheet shows, in plain words.

    Raises:
        ValueError: there are no videos.
    """
    if not strips:
        raise ValueError("no videos to draw")
    most = max(len(strip.thumbnails) for strip in strips)
    lines = math.ceil(most / ACROSS)
    across = max(8, math.ceil(most / lines))
    width = 2 * MARGIN + across * (SIDE + GAP) - GAP
    blocks = [_draw_strip(strip, across, width) for strip in strips]
    top, bottom = 62, 64
    sheet = Image.new("RGB", (width, top + sum(block.height for block in blocks) + bottom), "white")
    draw = ImageDraw.Draw(sheet)
    face = font(21, bold=True)
    draw.text((MARGIN, 22), shortened(title, width - 2 * MARGIN, face), font=face, fill=INK)
    y = top
    for block in blocks:
        sheet.paste(block, (0, y))
        y += block.height
    _draw_legend(
        draw,
        y + 8,
        width,
        any(strip.scores is not None for strip in strips),
        any(strip.bad for strip in strips),
    )
    save_image(sheet, path)


def _draw_strip(strip: FrameStrip, across: int, width: int) -> Image.Image:
    """One video: a line of text, and its frames in lines of `across`."""
    images = [fitted(thumbnail, SIDE) for thumbnail in strip.thumbnails]
    lines = max(1, math.ceil(len(images) / across))
    tallest = max((image.height for image in images), default=SIDE)
    caption = 20 if strip.scores is not None else 4
    head, step = 34, tallest + caption + GAP
    block = Image.new("RGB", (width, head + lines * step + 8), "white")
    draw = ImageDraw.Draw(block)
    draw.line([(MARGIN, 1), (width - MARGIN, 1)], fill=PALE, width=1)
    summary, bold, plain = _summary(strip), font(14, bold=True), font(13)
    room = width - 2 * MARGIN - plain.getlength(summary) - 30
    name = shortened(f"{strip.id} · {strip.label}" if strip.label else strip.id, int(room), bold)
    draw.text((MARGIN, 9), name, font=bold, fill=INK)
    draw.text((width - MARGIN, 10), summary, font=plain, fill=GREY, anchor="ra")
    for position, image in enumerate(images):
        x = MARGIN + (position % across) * (SIDE + GAP)
        y = head + (position // across) * step
        score = None if strip.scores is None else float(strip.scores[position])
        _draw_frame(
            block, draw, image, (x, y), tallest, strip.chosen[position], strip.bad.get(position), score
        )
    return block


def _draw_frame(
    block: Image.Image,
    draw: ImageDraw.ImageDraw,
    image: Image.Image,
    corner: tuple[int, int],
    tallest: int,
    chosen: bool,
    bad: str | None,
    score: float | None,
) -> None:
    """One frame with its marks: framed if chosen, paler if not, a tag if it was planted, its score below."""
    x, y = corner
    left, upper = x + (SIDE - image.width) // 2, y + (tallest - image.height) // 2
    if not chosen:
        image = Image.blend(image, Image.new("RGB", image.size, "white"), 0.3)
    block.paste(image, (left, upper))
    box = (left, upper, left + image.width - 1, upper + image.height - 1)
    if bad is not None:
        face = font(11, bold=True)
        draw.rectangle((box[0], box[3] - 17, box[2], box[3]), fill=VERMILLION)
        text = shortened(bad, image.width - 10, face)
        draw.text(
            ((box[0] + box[2]) / 2, box[3] - 9 - (FRAME - 2 if chosen else 0) / 2),
            text,
            font=face,
            fill="white",
            anchor="mm",
        )
    if chosen:
        outer = (box[0] - FRAME + 1, box[1] - FRAME + 1, box[2] + FRAME - 1, box[3] + FRAME - 1)
        draw.rectangle(outer, outline=BLUE, width=FRAME)
    if score is not None:
        base = y + tallest + 14
        face = font(11, bold=chosen)
        draw.text((x, base), f"{score:.2f}", font=face, fill=INK if chosen else GREY, anchor="lm")
        start = x + 34
        draw.rectangle((start, base - 2, x + SIDE - 1, base + 2), fill=PALE)
        length = round(min(max(score, 0.0), 1.0) * (x + SIDE - 1 - start))
        draw.rectangle((start, base - 2, start + length, base + 2), fill=BLUE if chosen else GREY)


def _summary(strip: FrameStrip) -> str:
    """What the strip shows, in figures."""
    text = f"{sum(map(bool, strip.chosen))} of {len(strip.chosen)} frames chosen"
    if strip.bad:
        hit = sum(bool(strip.chosen[position]) for position in strip.bad if position < len(strip.chosen))
        text += f", {hit} of {len(strip.bad)} planted bad frames among them"
    return text


def _draw_legend(draw: ImageDraw.ImageDraw, y: int, width: int, scores: bool, bad: bool) -> None:
    """What the marks mean."""
    draw.line([(MARGIN, y - 6), (width - MARGIN, y - 6)], fill=PALE, width=1)
    face, x, middle = font(13), MARGIN, y + 20
    draw.rectangle((x + 1, middle - 11, x + 29, middle + 11), fill=PALE, outline=BLUE, width=FRAME)
    x += 38
    draw.text((x, middle), "chosen, shown to the encoder", font=face, fill=GREY, anchor="lm")
    x += round(face.getlength("chosen, shown to the encoder")) + 30
    draw.rectangle((x + 3, middle - 9, x + 27, middle + 9), fill="#EEEEEE")
    x += 38
    draw.text((x, middle), "masked", font=face, fill=GREY, anchor="lm")
    x += round(face.getlength("masked")) + 30
    if bad:
        draw.rectangle((x, middle - 9, x + 44, middle + 8), fill=VERMILLION)
        draw.text((x + 22, middle), "kind", font=font(11, bold=True), fill="white", anchor="mm")
        x += 54
        draw.text((x, middle), "bad frame, planted", font=face, fill=GREY, anchor="lm")
        x += round(face.getlength("bad frame, planted")) + 30
    if scores:
        draw.rectangle((x, middle - 2, x + 40, middle + 2), fill=PALE)
        draw.rectangle((x, middle - 2, x + 24, middle + 2), fill=GREY)
        draw.text((x + 50, middle), "Grade-Net's score, 0 to 1", font=face, fill=GREY, anchor="lm")
