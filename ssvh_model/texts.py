"""Texts out of files that others made, on their way to a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text without what a terminal would obey: control characters become "?", so that it is one line and
    nothing but text.
    """
    return "".join(character if character.isprintable() else "?" for character in text)
