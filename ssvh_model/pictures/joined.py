"""Several pictures as one, small enough to be sent along with a record."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

JPEG_QUALITY = 80


def join_pictures(pictures: Sequence[Path], *, columns: int, width: int) -> bytes:
    """Pictures in rows from left to right, each scaled to its column, as one JPEG file.

    Args:
        pictures: files that Pillow reads.
        columns: pictures beside each other.
        width: of the whole, pixels.

    Raises:
        ValueError: no pictures, or no column.
    """
    from PIL import Image

    if not pictures or columns < 1:
        raise ValueError(f"{len(pictures)} pictures in {columns} columns; allowed is at least one of each")
    side = width // columns
    scaled = []
    for path in pictures:
        with Image.open(path) as image:
            size = (side, round(image.height * side / image.width))
            scaled.append(image.convert("RGB").resize(size, Image.Resampling.LANCZOS))
    rows = [scaled[start : start + columns] for start in range(0, len(scaled), columns)]
    joined = Image.new("RGB", (side * columns, sum(max(one.height for one in row) for row in rows)), "white")
    top = 0
    for row in rows:
        for column, one in enumerate(row):
            joined.paste(one, (column * side, top))
        top += max(one.height for one in row)
    buffer = io.BytesIO()
    joined.save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return buffer.getvalue()
