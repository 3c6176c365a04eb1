"""What a search finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ssvh_model.index.coded_videos import Facts
from ssvh_model.moments.matching import Moment


@dataclass(frozen=True)
class Hit:
    """A found video, and where in it.

    Attributes:
        id: of the video.
        distance: Hamming distance to the query, bits; where several segments of the query were compared,
            their mean, rounded.
        label: several joined by "|"; "" if unknown.
        duration: seconds of the video; 0 if unknown.
        path: of the file; "" if unknown.
        start, end: of what was found in the video, seconds; 0 and its duration for a whole one.
        likeness: of the frames, aligned in time, at most 1; None where only codes were compared.
    """

    id: str
    distance: int
    label: str
    duration: float
    path: str
    start: float
    end: float
    likeness: float | None = None

    @property
    def whole(self) -> bool:
        """Whether all of the video was found, as far as its duration is known."""
        return self.start == 0 and self.end >= self.duration - 1e-3


class Described(Protocol):
    """What tells something about rows of an index."""

    def facts(self, rows: Sequence[int]) -> Mapping[int, Facts]: ...


def hits_of(snapshot: Described, found: Sequence[Sequence[Moment]]) -> list[list[Hit]]:
    """Places that were found, with what the index knows of their videos."""
    facts = snapshot.facts([moment.row for moments in found for moment in moments])
    return [
        [
            Hit(
                id=facts[moment.row].id,
                distance=round(moment.distance),
                label=facts[moment.row].label,
                duration=facts[moment.row].duration,
                path=facts[moment.row].path,
                start=moment.start,
                end=moment.end,
                likeness=moment.likeness,
            )
            for moment in moments
        ]
        for moments in found
    ]
