"""Contact sheet of queries and their nearest videos, right and wrong ones marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from ssvh_model.pictures.canvas import Thumbnail, fitted, font, mark, save_image, shortened
from ssvh_model.pictures.style import GREEN, GREY, INK, PALE, VERMILLION

SIDE = 108
GAP = 16
MARGIN = 24
FRAME = 4
COLOURS = {"right": GREEN, "wrong": VERMILLION, "unknown": GREY}


@dataclass(frozen=True)
class ShownHit:
    """One found video.

    Attributes:
        id, label: what is written below it.
        thumbnail: one of its frames.
        distance: Hamming distance to the query.
        relevant: whether it shares a label with the query; None where that is not known.
    """

    id: str
    label: str
    thumbnail: Thumbnail
    distance: int
    relevant: bool | None

    @property
    def verdict(self) -> str:
        """right, wrong or unknown."""
        return "unknown" if self.relevant is None else "right" if self.relevant else "wrong"


@dataclass(frozen=True)
class Neighbours:
    """One query and what was found for it, nearest first."""

    query_id: str
    query_label: str
    query_thumbnail: Thumbnail
    hits: Sequence[ShownHit]


def draw_neighbours_sheet(path: Path, rows: Sequence[Neighbours], *, title: str) -> None:
    """Write the sheet, one query a row.

    Args:
        path: the PNG to write.
        rows: the queries with their hits.
        title: what the sheet shows, in plain words.

    Raises:
        ValueError: there are no queries.
    """
    if not rows:
        raise ValueError("no queries to draw")
    most = max(4, *(len(row.hits) for row in rows))
    width = 2 * MARGIN + SIDE + 44 + most * (SIDE + GAP) - GAP
    blocks = [_draw_row(row, width) for row in rows]
    top, bottom = 62, 56
    sheet = Image.new("RGB", (width, top + sum(block.height for block in blocks) + bottom), "white")
    draw = ImageDraw.Draw(sheet)
    face = font(21, bold=True)
    draw.text((MARGIN, 22), shortened(title, width - 2 * MARGIN, face), font=face, fill=INK)
    y = top
    for block in blocks:
        sheet.paste(block, (0, y))
        y += block.height
    _draw_legend(draw, y + 8, width, {hit.verdict for row in rows for hit in row.hits})
    save_image(sheet, path)


def _draw_row(row: Neighbours, width: int) -> Image.Image:
    """The query at the left, its hits to the right of a rule."""
    query = fitted(row.query_thumbnail, SIDE)
    images = [fitted(hit.thumbnail, SIDE) for hit in row.hits]
    tallest = max(image.height for image in (query, *images))
    block = Image.new("RGB", (width, tallest + 78), "white")
    draw = ImageDraw.Draw(block)
    draw.line([(MARGIN, 1), (width - MARGIN, 1)], fill=PALE, width=1)
    y = 16
    _paste_framed(block, draw, query, MARGIN, y, tallest, INK)
    _caption(draw, MARGIN, y + tallest + 9, row.query_label or "no label", f"query {row.query_id}", "")
    rule = MARGIN + SIDE + 22
    draw.line([(rule, y), (rule, y + tallest + 44)], fill=PALE, width=1)
    for index, (hit, image) in enumerate(zip(row.hits, images, strict=True)):
        x = MARGIN + SIDE + 44 + index * (SIDE + GAP)
        colour = COLOURS[hit.verdict]
        left, upper = _paste_framed(block, draw, image, x, y, tallest, colour)
        mark(draw, (left + 9, upper + 9), 12, colour, hit.verdict)
        _caption(draw, x, y + tallest + 9, hit.label or "no label", hit.id, f"distance {hit.distance}")
    return block


def _paste_framed(
    block: Image.Image,
    draw: ImageDraw.ImageDraw,
    image: Image.Image,
    x: int,
    y: int,
    tallest: int,
    colour: str,
) -> tuple[int, int]:
    """Put an image in the middle of its cell with a frame around it; where its corner came to lie."""
    left, upper = x + (SIDE - image.width) // 2, y + (tallest - image.height) // 2
    block.paste(image, (left, upper))
    draw.rectangle(
        (
            left - FRAME + 1,
            upper - FRAME + 1,
            left + image.width + FRAME - 2,
            upper + image.height + FRAME - 2,
        ),
        outline=colour,
        width=FRAME,
    )
    return left, upper


def _caption(draw: ImageDraw.ImageDraw, x: int, y: int, label: str, identity: str, distance: str) -> None:
    """Three short lines below a thumbnail."""
    bold, plain = font(12, bold=True), font(11)
    draw.text((x, y), shortened(label, SIDE, bold), font=bold, fill=INK)
    draw.text((x, y + 17), shortened(identity, SIDE, plain), font=plain, fill=GREY)
    draw.text((x, y + 33), distance, font=plain, fill=INK)


def _draw_legend(draw: ImageDraw.ImageDraw, y: int, width: int, verdicts: set[str]) -> None:
    """What the marks mean."""
    draw.line([(MARGIN, y - 6), (width - MARGIN, y - 6)], fill=PALE, width=1)
    texts = {"right": "shares a label with the query", "wrong": "does not", "unknown": "not known: no label"}
    face, x = font(13), MARGIN
    for verdict, text in texts.items():
        if verdict not in verdicts:
            continue
        mark(draw, (x + 12, y + 18), 12, COLOURS[verdict], verdict)
        draw.text((x + 32, y + 18), text, font=face, fill=GREY, anchor="lm")
        x += 32 + round(face.getlength(text)) + 34
    draw.text(
        (width - MARGIN, y + 18),
        "nearest first; distance = differing bits",
        font=face,
        fill=GREY,
        anchor="rm",
    )
