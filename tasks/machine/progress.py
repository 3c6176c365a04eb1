"""Progress bars and lines: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

SECONDS_BETWEEN_LINES = 5.0

Say = Callable[[str], None]  # takes a line of text for a person


class ShownProgress:
    """A `ssvh_model.progress.Progress` that is seen, with rate and time left.

    Args:
        what: is counted, such as "videos".
        say: takes a line of text; used where the output is no terminal.
    """

    def __init__(self, what: str, say: Callable[[str], None]) -> None:
        self.what = what
        self._say = say
        self._began: float | None = None
        self._done_before = 0
        self._last_line = 0.0
        self._finished = False
        self._bar = _Bar(what) if sys.stderr.isatty() else None

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self._began is None:
            # What was there before this run tells nothing about the rate.
            self._began, self._done_before, self._last_line = now, done, now
        if self._finished:
            return
        if self._bar is not None:
            self._bar.update(done, total)
        self._finished = done >= total
        if self._finished:
            self.close()
        if self._finished or (self._bar is None and now - self._last_line >= SECONDS_BETWEEN_LINES):
            self._last_line = now
            self._say(self._line(done, total, now - self._began))

    def _line(self, done: int, total: int, seconds: float) -> str:
        new = done - self._done_before
        text = f"{self.what}: {done} of {total}"
        if new <= 0 or seconds <= 0:
            return text
        rate = new / seconds
        left = "" if done >= total else f", {duration((total - done) / rate)} left"
        return f"{text}, {rate:.3g} a second{left}" + (f", {duration(seconds)}" if done >= total else "")

    def close(self) -> None:
        """Take the bar off the terminal."""
        if self._bar is not None:
            self._bar.close()


class _Bar:
    def __init__(self, what: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task(what, total=None, rate="")
        self._started = False

    def update(self, done: int, total: int) -> None:
        if not self._started:
            self._progress.start()
            self._progress.update(self._task, completed=done, total=total)
            self._progress.reset(self._task, completed=done, total=total)
            self._started = True
        speed = self._progress.tasks[self._task].speed
        self._progress.update(self._task, completed=done, total=total, rate=f"{speed:.3g}/s" if speed else "")

    def close(self) -> None:
        if self._started:
            self._progress.stop()
            self._started = False


def duration(seconds: float) -> str:
    """For a person: "12 s", "3 min 05 s", "2 h 07 min"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
