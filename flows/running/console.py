"""What commands print beside their results: tables and progress."""

from __future__ import annotations

import sys

from rich.console import Console

from tasks.machine.progress import ShownProgress


def wide_console() -> Console:
    """For tables: as wide as the terminal, and wide enough where the output is none."""
    console = Console()
    return console if console.is_terminal else Console(width=130)


def shown(what: str) -> ShownProgress:
    """A progress on the error output, so that what is printed stays the result."""
    return ShownProgress(what, print_line)


def print_line(text: str) -> None:
    """Say something beside what the command prints."""
    print(text, file=sys.stderr, flush=True)
