"""Bounds on a YAML file, checked before anything is made of it: its text is short where what it stands for
may not be.
"""

from __future__ import annotations

from typing import Any

DEEPEST = 50  # sections within each other; the parser's own stack ends somewhere above a thousand
LARGEST = (
    2**1024
)  # of numbers, about what a floating-point number reaches; Python does not even print much larger ones
MOST = 100_000  # values, those that references repeat counted each time


def problem_with_size(events: Any) -> str | None:
    """What is wrong with the events of a YAML parser, in a line: too deep, too large once references are
    followed, or without an end.
    """
    sizes: dict[str, int] = {}  # of what has an anchor and is whole
    open_nodes: list[tuple[str | None, int]] = []  # anchors of the sections around, and their sizes so far
    total = 0
    for event in events:
        kind = type(event).__name__
        if kind in ("MappingStartEvent", "SequenceStartEvent"):
            open_nodes.append((event.anchor, 1))
            if len(open_nodes) > DEEPEST:
                return f"sections are within each other more than {DEEPEST} times"
            continue
        if kind in ("MappingEndEvent", "SequenceEndEvent"):
            anchor, size = open_nodes.pop()
        elif kind == "AliasEvent":
            if event.anchor not in sizes:
                return f"*{event.anchor} refers to what is not there before it"
            anchor, size = None, sizes[event.anchor]
        elif kind == "ScalarEvent":
            anchor, size = event.anchor, 1
        else:
            continue
        if anchor is not None:
            sizes[anchor] = size
        if open_nodes:
            outer, before = open_nodes[-1]
            open_nodes[-1] = (outer, before + size)
        else:
            total += size
        if total > MOST or size > MOST:
            return f"it stands for more than {MOST} values"
    return None


def has_huge_number(value: Any) -> bool:
    """True if a whole number of `LARGEST` or above is anywhere in what a YAML file has become."""
    if isinstance(value, dict):
        return any(has_huge_number(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple | set):
        return any(map(has_huge_number, value))
    return isinstance(value, int) and abs(value) >= LARGEST
