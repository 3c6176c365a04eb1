"""How long work tells how far it is. The library reports; whoever calls it decides how that looks."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called with the items done so far and their total, in the order of the work."""

    def __call__(self, done: int, total: int) -> None: ...


def no_progress(done: int, total: int) -> None:
    """A `Progress` that nobody watches."""


def part_of(progress: Progress, *, before: int, total: int) -> Progress:
    """A `Progress` for one part of a work of `total` items, of which `before` come before the part."""
    whole = total

    def tell(done: int, total: int) -> None:
        progress(before + done, whole)

    return tell
