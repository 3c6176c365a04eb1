"""Which state of a training counts: its end, or its start where that has the better codes.

A training that does not suit its videos can end with codes that are worse than those that it began with
(docs/explanation/quality.md). Start and end are measured alike, on videos that are no queries, and the
weights of both are in every checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ssvh_model.errors import UserError
from ssvh_model.training.checkpoint import TrainingState
from ssvh_model.training.failure_bounds import WORSE_THAN_START
from ssvh_model.training.figures import (
    LABEL_FREE_SCORE,
    START_LABEL_FREE_SCORE,
    START_VALIDATION_GMAP,
    VALIDATION_GMAP,
)

WaysToSelect = Literal["auto", "label_free", "labels", "end"]

# A figure of the end, in a history's last row, and the same of the start, in its first row.
OF_START = {VALIDATION_GMAP: START_VALIDATION_GMAP, LABEL_FREE_SCORE: START_LABEL_FREE_SCORE}
WANTED = {"labels": VALIDATION_GMAP, "label_free": LABEL_FREE_SCORE}  # what must have been measured
WORDS = {VALIDATION_GMAP: "validation GMAP", LABEL_FREE_SCORE: "score without labels"}


@dataclass(frozen=True)
class Compared:
    """A figure of both states; higher is better."""

    figure: str
    start: float
    end: float


@dataclass(frozen=True)
class SelectedState:
    """What was selected, and by what.

    Attributes:
        state: whose weights count.
        compared: what it was selected by; nothing where the end was not to be doubted, or could not be.
    """

    state: TrainingState
    compared: tuple[Compared, ...] = ()

    def record(self) -> dict[str, Any]:
        """As plain JSON: `state`, `text` and, for each figure that was compared, `start` and `end`; for the
        start what to `try`, too.
        """
        return {
            "state": self.state,
            "text": self.sentence(),
            "compared": {one.figure: {"start": one.start, "end": one.end} for one in self.compared},
            **({"try": WORSE_THAN_START} if self.state == "start" else {}),
        }

    def figures(self) -> dict[str, float]:
        """Named figures: `selected_start`, 1 or 0, and what was compared, by the names that a history has."""
        found = {"selected_start": float(self.state == "start")}
        for one in self.compared:
            found |= {OF_START[one.figure]: one.start, one.figure: one.end}
        return found

    def sentence(self) -> str:
        """For a person, such as "the start of the training: validation GMAP 0.6417, at the end 0.4502"."""
        other: TrainingState = "end" if self.state == "start" else "start"
        compared = "; ".join(
            f"{WORDS[one.figure]} {getattr(one, self.state):.4f}, at the {other} {getattr(one, other):.4f}"
            for one in self.compared
        )
        return f"the {self.state} of the training" + (f": {compared}" if compared else "")


def select_state(history: Sequence[Mapping[str, Any]], selection: WaysToSelect) -> SelectedState:
    """Start or end of a training: the start only where it is better by all that counts.

    Args:
        history: one row an epoch, from the first one of the warm-up on.
        selection: what counts. "label_free": the score that needs no labels. "labels": the GMAP of the
            validation videos. "auto": the score and, where validation videos have labels, their GMAP too;
            without a score the end, for few labelled videos alone are often wrong. "end": nothing, the end is
            taken.

    Raises:
        UserError: what counts was not measured.
    """
    score, gmap = (_compared(history, figure) for figure in (LABEL_FREE_SCORE, VALIDATION_GMAP))
    if selection in WANTED and not {"labels": gmap, "label_free": score}[selection]:
        raise UserError(
            f"selection is {selection}, but this training has no {WORDS[WANTED[selection]]} of its start and its end; "
            "allowed are auto and end"
        )
    counting = {"labels": [gmap], "label_free": [score], "auto": [score, gmap] if score else [], "end": []}
    compared = tuple(one for one in counting[selection] if one is not None)
    start_is_better = bool(compared) and all(one.start > one.end for one in compared)
    return SelectedState("start" if start_is_better else "end", compared)


def _compared(history: Sequence[Mapping[str, Any]], figure: str) -> Compared | None:
    if not history:
        return None
    start, end = history[0].get(OF_START[figure]), history[-1].get(figure)
    if isinstance(start, int | float) and isinstance(end, int | float):
        return Compared(figure, start, end)
    return None
