"""Tables of plain text."""

from __future__ import annotations

from collections.abc import Sequence

from ssvh_model.texts import printable


def text_table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, right: set[int]) -> str:
    """Columns as wide as their widest entry."""
    lines = [list(titles), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(titles))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
