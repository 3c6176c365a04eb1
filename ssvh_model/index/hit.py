"""What a search finds: the same words and numbers in Python, as the command's JSON and by HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ssvh_model.index.coded_videos import Facts
from ssvh_model.moments.matching import Moment

SECONDS_DIGITS = 3
LIKENESS_DIGITS = 4


@dataclass(frozen=True)
class VideoFacts:
    """A video as an index knows it.

    Attributes:
        id: unique.
        labels: none, one or several.
        seconds: 0 if unknown.
        path: of its file; "" if unknown.
        code: of the row that was asked about, in hexadecimal digits.
    """

    id: str
    labels: tuple[str, ...]
    seconds: float
    path: str
    code: str


@dataclass(frozen=True)
class Hit(VideoFacts):
    """A found video, and where in it.

    Attributes:
        distance: Hamming distance to the query, bits; where several segments of the query were compared,
            their mean, rounded.
        start, end: of what was found in the video, seconds; 0 and `seconds` for all of it.
        likeness: at most 1, of the frames, aligned in time, or of the query's soft code to this code
            (`moments.soft_order`); None where only codes were compared.
    """

    distance: int
    start: float
    end: float
    likeness: float | None

    @property
    def label(self) -> str:
        """The labels joined by "|"; "" if there are none."""
        return "|".join(self.labels)

    @property
    def duration(self) -> float:
        """`seconds`, as it was called before."""
        return self.seconds

    @property
    def whole(self) -> bool:
        """Whether all of the video was found, as far as its duration is known."""
        return self.start == 0 and self.end >= self.seconds - 1e-3


class Described(Protocol):
    """What tells something about rows of an index."""

    def facts(self, rows: Sequence[int]) -> Mapping[int, Facts]: ...


def facts_of(known: Facts) -> VideoFacts:
    """What an index says of a row, for whoever asks."""
    return VideoFacts(*_common(known))


def hit_of(known: Facts, distance: float, start: float, end: float, likeness: float | None = None) -> Hit:
    """A row that was found."""
    return Hit(
        *_common(known),
        round(distance),
        round(start, SECONDS_DIGITS),
        round(end, SECONDS_DIGITS),
        None if likeness is None else round(likeness, LIKENESS_DIGITS),
    )


def hits_of(snapshot: Described, found: Sequence[Sequence[Moment]]) -> list[list[Hit]]:
    """Places that were found, with what the index knows of their videos."""
    facts = snapshot.facts([moment.row for moments in found for moment in moments])
    return [
        [hit_of(facts[one.row], one.distance, one.start, one.end, one.likeness) for one in moments]
        for moments in found
    ]


def _common(known: Facts) -> tuple[str, tuple[str, ...], float, str, str]:
    labels = tuple(label for label in known.label.split("|") if label)
    return known.id, labels, round(known.duration, SECONDS_DIGITS), known.path, known.code
