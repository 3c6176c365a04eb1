"""Named checks for the ways in which training fails: figures in, findings out.

The figures stand in the rows of a training history (`diagnostics.py`, `figures.py`). They hold no thresholds,
so other thresholds can be tried on a history without training again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ssvh_model.model.sampler import SamplerKind
from ssvh_model.training.failure_bounds import CHECKS, WARMUP, Bound, Thresholds, bounds
from ssvh_model.training.figures import LABEL_FREE_SCORE, START_LABEL_FREE_SCORE, VALIDATION_GMAP

# A gain over nearly nothing is no gain that a ratio can tell.
LEAST_GMAP = 1e-3

# What the scores should have to do with the reconstruction error; an adversary shows the easy frames and
# hides the hard ones.
WANTED_SIGN = {"adversarial": -1.0, "cooperative": 1.0, "random": 0.0, "shuffled": 0.0}


@dataclass(frozen=True)
class Finding:
    """How one check stands after a measurement.

    Attributes:
        check: its name, one of `CHECKS`.
        epoch: of the measurement.
        figure, value, threshold: what was judged, and by what; of several figures the first that is out of
            bounds.
        raised: whether there is something to warn about.
        since: epoch of the first measurement in a row that was out of bounds; None where none is.
        warning: one line for a person, with the figure, the threshold and the parameter to try.
    """

    check: str
    epoch: int
    figure: str
    value: float
    threshold: float
    raised: bool
    since: int | None
    warning: str


class FailureChecks:
    """Judges the rows of a training history, one after the other.

    Args:
        thresholds: where figures are out of bounds.
        sampler: its kind, which says what the scores should have to do with the reconstruction error.
    """

    def __init__(self, thresholds: Thresholds, sampler: SamplerKind) -> None:
        self.thresholds = thresholds
        self._sampler = sampler
        self._rows: list[Mapping[str, Any]] = []
        self._since: dict[str, list[int]] = {}
        self._latest: dict[str, Finding] = {}

    def add(self, row: Mapping[str, Any]) -> list[Finding]:
        """Judge the next row of the history; one finding for each check that the row has a figure for.

        Args:
            row: `epoch`, `phase` ("warmup", "round-1", ...) and whatever was measured, by name.
        """
        self._rows.append(row)
        figures = {**row, **self._over_time(row)}
        limits = bounds(self.thresholds, sampler=self._sampler, phase=row["phase"])
        findings = []
        for check in CHECKS:
            own = [bound for bound in limits if bound.check == check and bound.figure in figures]
            if own:
                findings.append(self._judge(row["epoch"], own, figures))
        self._latest.update({finding.check: finding for finding in findings})
        return findings

    def _judge(self, epoch: int, limits: Sequence[Bound], figures: Mapping[str, Any]) -> Finding:
        broken = [bound for bound in limits if bound.broken_by(figures[bound.figure])]
        bound = (broken or limits)[0]
        value = float(figures[bound.figure])
        epochs = self._since.setdefault(bound.check, [])
        if broken:
            epochs.append(epoch)
        else:
            epochs.clear()
        # A plateau has been going on for several measurements when it is first seen.
        patience = 1 if bound.check == "plateau_before_p2set" else self.thresholds.patience
        since = epochs[0] if epochs else None
        text = (
            f"{bound.check}: {bound.figure} is {value:.3g}, {bound.out} {bound.threshold:g} since epoch {since}: "
            f"{bound.means}; try {bound.remedy}"
        )
        raised = len(epochs) >= patience
        return Finding(bound.check, epoch, bound.figure, value, bound.threshold, raised, since, text)

    def raised(self) -> list[Finding]:
        """The checks that stand raised now, in the order of `CHECKS`."""
        return [self._latest[name] for name in CHECKS if name in self._latest and self._latest[name].raised]

    def record(self) -> dict[str, Any]:
        """How every check stands now, as plain JSON.

        `raised` are the names of the raised checks and `warnings` their lines. `states` has, by name, `state`
        ("raised", "passed" or "not measured") and, where it was measured, `figure`, `value`, `threshold`,
        `epoch` and `since`.
        """
        raised = self.raised()
        return {
            "raised": [finding.check for finding in raised],
            "warnings": [finding.warning for finding in raised],
            "states": {name: _record(self._latest.get(name)) for name in CHECKS},
        }

    def _over_time(self, row: Mapping[str, Any]) -> dict[str, float]:
        """Figures that come from more than one row."""
        derived: dict[str, float] = {}
        if (sign := WANTED_SIGN[self._sampler]) and "score_error_correlation" in row:
            derived["wanted_score_error_correlation"] = sign * row["score_error_correlation"]
        if VALIDATION_GMAP in row:
            gain = self._gmap_gain()
            if gain is not None:
                derived["validation_gmap_gain"] = gain
        # Where validation videos have labels, these tell more.
        start = next((one[START_LABEL_FREE_SCORE] for one in self._rows if START_LABEL_FREE_SCORE in one), 0)
        if start > 0 and LABEL_FREE_SCORE in row and VALIDATION_GMAP not in row:
            derived["score_loss"] = 1 - row[LABEL_FREE_SCORE] / start
        for loss in ("reconstruction", "view_contrastive"):
            name = f"{loss}_gap"
            if name in row:
                smallest = min(one[name] for one in self._rows if name in one)
                derived[f"{name}_growth"] = row[name] - smallest
        return derived

    def _gmap_gain(self) -> float | None:
        """How much the best validation GMAP has risen over the last measurements, or through P2Set if that is
        more.
        """
        measured = [(one["phase"], one[VALIDATION_GMAP]) for one in self._rows if VALIDATION_GMAP in one]
        gmaps = [value for _, value in measured]
        last = self.thresholds.plateau_measurements
        if len(gmaps) <= last:
            return None
        gain = _gain(max(gmaps[:-last]), max(gmaps[-last:]))
        before = [value for phase, value in measured if phase == WARMUP]
        with_clusters = [value for phase, value in measured if phase != WARMUP]
        if before and with_clusters:
            gain = max(gain, _gain(max(before), max(with_clusters)))
        return gain


def _gain(before: float, after: float) -> float:
    return (after - before) / max(before, LEAST_GMAP)


def _record(finding: Finding | None) -> dict[str, Any]:
    if finding is None:
        return {"state": "not measured"}
    return {
        "state": "raised" if finding.raised else "passed",
        "figure": finding.figure,
        "value": finding.value,
        "threshold": finding.threshold,
        "epoch": finding.epoch,
        "since": finding.since,
    }
