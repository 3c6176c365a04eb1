"""The failure checks of a stage: what they find, said as it arises and put where people look for it.

Thresholds are in params.yaml, section `checks`. No training stage depends on that section in dvc.yaml: a
threshold changes what is said about a training, not the training. The stage `evaluate` does, and judges the
whole history again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ssvh_model.training.failure_checks import FailureChecks, Finding, Thresholds
from ssvh_model.training.figures import START_AGREEMENT, START_WHITENING, START_WITHIN_VIDEO, VALIDATION_GMAP
from tasks.params.sections import Params
from tasks.pipeline.stage import Stage
from tasks.records.prefect_page import show_table
from tasks.records.tags import NONE_RAISED, RAISED_TAG


def make_checks(params: Params) -> FailureChecks:
    """The checks as params.yaml says."""
    return FailureChecks(Thresholds(**params.checks.model_dump()), params.sampler.kind)


def check_history(params: Params, history: Iterable[Mapping[str, Any]]) -> FailureChecks:
    """The checks after a whole history."""
    checks = make_checks(params)
    for row in history:
        checks.add(row)
    return checks


class CheckedStage:
    """The checks while one stage trains.

    Args:
        stage: which stage.
        before: the history that the stage goes on from. What was raised there already is not said again.
    """

    def __init__(self, stage: Stage, before: Iterable[Mapping[str, Any]] = ()) -> None:
        self._stage = stage
        self._checks = check_history(stage.params, before)
        self._said = {finding.check for finding in self._checks.raised()}

    def add(self, row: Mapping[str, Any]) -> None:
        """Judge an epoch: log how each check stands, and say what has not been said yet."""
        findings = self._checks.add(row)
        if findings:
            self._stage.run.log_metrics(_metrics(findings), step=row["epoch"])
        for finding in findings:
            if finding.raised and finding.check not in self._said:
                self._said.add(finding.check)
                self._stage.say(f"warning: {finding.warning}")

    def close(self) -> None:
        """Leave the result at the end of the stage in MLflow and Prefect."""
        leave_result(self._stage, self._checks)


def epoch_log(stage: Stage, checks: CheckedStage) -> Callable[[dict[str, Any], float], None]:
    """Logs an epoch's figures to the stage's MLflow run, a line of them where validation was measured, and
    what the checks find.
    """

    def log(row: dict[str, Any], seconds: float) -> None:
        figures = {name: value for name, value in row.items() if name not in ("epoch", "phase")}
        if seconds:
            figures["epoch_seconds"] = seconds
        stage.run.log_metrics(figures, step=row["epoch"])
        if START_AGREEMENT in row:
            stage.say(
                f"start: whitening {row.get(START_WHITENING, 'by_length')}, within_video {row[START_WITHIN_VIDEO] or None}; "
                f"clusters of halves agree by {row[START_AGREEMENT]:.2f}, most of all starts tried"
            )
        if VALIDATION_GMAP in row:
            stage.say(
                f"epoch {row['epoch']}: loss {row['loss']:.4f}, validation GMAP {row[VALIDATION_GMAP]:.4f}"
            )
        checks.add(row)

    return log


def leave_result(stage: Stage, checks: FailureChecks) -> None:
    """Tag the stage's MLflow run and its parent with the checks that are raised, and show all of them as a
    table in Prefect.
    """
    record = checks.record()
    tags = {RAISED_TAG: ", ".join(record["raised"]) or NONE_RAISED}
    stage.run.tag_both(**tags)
    rows = [
        {
            "check": name,
            "state": one["state"],
            "figure": one.get("figure", ""),
            "value": f"{one['value']:.4g}" if "value" in one else "",
            "threshold": f"{one['threshold']:g}" if "threshold" in one else "",
            "since epoch": one.get("since") or "",
        }
        for name, one in record["states"].items()
    ]
    description = "\n".join(f"- {warning}" for warning in record["warnings"]) or "No check is raised."
    show_table(f"checks-{stage.name}", rows, description, stage.say)


def _metrics(findings: Iterable[Finding]) -> dict[str, float]:
    """For each check its state, 1 for raised, and the figure that was judged."""
    metrics: dict[str, float] = {}
    for finding in findings:
        metrics[f"checks/{finding.check}"] = float(finding.raised)
        metrics[f"check_figures/{finding.figure}"] = finding.value
    return metrics
