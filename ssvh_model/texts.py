"""Texts on their way to a terminal, such as those out of files that others made."""

from __future__ import annotations

from collections.abc import Sequence


def printable(text: str) -> str:
    """The text without what a terminal would obey: control characters become "?", so that it is one line and
    nothing but text.
    """
    return "".join(character if character.isprintable() else "?" for character in text)


def listed(texts: Sequence[str], most: int) -> str:
    """The texts with commas between them; of more than `most` the first ones, and how many more there are."""
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more
