"""What a found video must be, and what is wanted of a search: the same for Python, the command and HTTP."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ssvh_model.errors import UserError
from ssvh_model.moments.matching import Group
from ssvh_model.moments.rerank import Rerank

LONGEST_TEXT = 200

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Wanted:
    """What is wanted of a search.

    Attributes:
        count: hits.
        group: video (the best moment of each video) | none (several of one, too).
        rerank: none (by codes alone) | soft (what codes have found is ordered by the query's soft code, which
            has not been cut to bits) | features (it is ordered by its stored frame features, aligned in
            time, which also tell more exactly where in a film a moment is).

    Raises:
        UserError: the count is no number from 1.
    """

    count: int = 10
    group: Group = "video"
    rerank: Rerank = "none"

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UserError(f"count is {self.count}; allowed are whole numbers from 1")


@dataclass(frozen=True)
class Filters:
    """What a found video must be.

    Attributes:
        labels: at least one of them; () for any.
        min_seconds, max_seconds: its length.
        max_distance: bits; None for any.
        text: part of its id, whatever the case.

    Raises:
        UserError: a value is none that is allowed.
    """

    labels: Sequence[str] = ()
    min_seconds: float | None = None
    max_seconds: float | None = None
    max_distance: int | None = None
    text: str = ""

    def __post_init__(self) -> None:
        for name in ("min_seconds", "max_seconds"):
            if (seconds := getattr(self, name)) is not None and not _allowed(seconds):
                raise _no_number(name, seconds, "numbers")
        if self.max_distance is not None and not _allowed(self.max_distance):
            raise _no_number("max_distance", self.max_distance, "whole numbers")
        if len(self.text) > LONGEST_TEXT:
            raise UserError(f"text has {len(self.text)} characters; allowed are up to {LONGEST_TEXT}")

    @classmethod
    def parse(
        cls,
        labels: Sequence[str] | None,
        min_seconds: str | None,
        max_seconds: str | None,
        max_distance: str | None,
        text: str,
    ) -> Filters:
        """The same from what somebody has typed; None where nothing was.

        Raises:
            UserError: a value is none that is allowed.
        """
        return cls(
            tuple(labels or ()),
            _parsed("min_seconds", min_seconds, float, "numbers"),
            _parsed("max_seconds", max_seconds, float, "numbers"),
            _parsed("max_distance", max_distance, int, "whole numbers"),
            text,
        )

    @property
    def of_videos(self) -> bool:
        """Whether some videos are left out whatever is searched for."""
        return bool(self.labels or self.text or (self.min_seconds, self.max_seconds) != (None, None))


TEN = Wanted()
ANY = Filters()


def _allowed(number: float) -> bool:
    return math.isfinite(number) and number >= 0


def _parsed(name: str, typed: str | None, read: Callable[[str], Number], kind: str) -> Number | None:
    if typed is None:
        return None
    try:
        if _allowed(number := read(typed)):
            return number
    except ValueError:
        pass
    raise _no_number(name, typed, kind)


def _no_number(name: str, found: object, kind: str) -> UserError:
    return UserError(f"{name} is {found!r}; allowed are {kind} from 0")
