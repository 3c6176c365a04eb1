"""Which state of a training counts, from its history."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ssvh_model.errors import UserError
from ssvh_model.training.failure_checks import FailureChecks
from ssvh_model.training.selection import WaysToSelect, select_state
from tests.ssvh_model.training.test_failure_checks import THRESHOLDS

GMAP, SCORE = "validation_gmap", "label_free_score"
WORSE, BETTER = (0.4, 0.3), (0.3, 0.4)  # from start to end


def history(**figures: tuple[float, float]) -> list[dict[str, Any]]:
    """Three epochs, of which the second has the best figures."""
    rows: list[dict[str, Any]] = [{"epoch": epoch, "phase": "warmup", "loss": 1.0} for epoch in (1, 2, 3)]
    for name, (start, end) in figures.items():
        rows[0][f"start_{name}"] = start
        rows[1][name], rows[2][name] = 0.9, end
    return rows


@pytest.mark.parametrize(
    ("gmap", "score", "states"),
    [
        (WORSE, WORSE, {"auto": "start", "labels": "start", "label_free": "start", "end": "end"}),
        (BETTER, BETTER, {"auto": "end", "labels": "end", "label_free": "end", "end": "end"}),
        # One alone is no reason to go back.
        (WORSE, BETTER, {"auto": "end", "labels": "start", "label_free": "end", "end": "end"}),
        (BETTER, WORSE, {"auto": "end", "labels": "end", "label_free": "start", "end": "end"}),
        # Of equally good ones the end counts.
        ((0.4, 0.4), (0.4, 0.4), {"auto": "end", "labels": "end", "label_free": "end", "end": "end"}),
        # A corpus without labels; and a start that sees nothing, or few training videos.
        (None, WORSE, {"auto": "start", "label_free": "start", "end": "end"}),
        (None, BETTER, {"auto": "end", "label_free": "end", "end": "end"}),
        (WORSE, None, {"auto": "end", "labels": "start", "end": "end"}),
        (None, None, {"auto": "end", "end": "end"}),
    ],
)
def test_the_start_counts_only_where_it_is_better_by_all_that_counts(
    gmap: tuple[float, float] | None,
    score: tuple[float, float] | None,
    states: dict[WaysToSelect, str],
) -> None:
    figures = {name: values for name, values in ((GMAP, gmap), (SCORE, score)) if values is not None}
    rows = history(**figures)
    assert {way: select_state(rows, way).state for way in states} == states


def test_what_is_asked_for_and_was_not_measured_is_one_line() -> None:
    with pytest.raises(
        UserError, match=r"selection is labels, .* no validation GMAP .*; allowed are auto and end"
    ):
        select_state(history(label_free_score=WORSE), "labels")
    with pytest.raises(
        UserError, match=r"selection is label_free, .* no score without labels .*; allowed are"
    ):
        select_state(history(validation_gmap=WORSE), "label_free")


def test_where_the_check_says_that_codes_are_below_their_start_the_start_is_selected() -> None:
    rng = np.random.default_rng(0)
    raised = 0
    for _ in range(200):
        scores = rng.uniform(0.1, 0.3, 5)
        rows: list[dict[str, Any]] = [
            {"epoch": epoch, "phase": "warmup", "label_free_score": float(score)}
            for epoch, score in enumerate(scores[1:], 1)
        ]
        rows[0]["start_label_free_score"] = float(scores[0])
        checks = FailureChecks(THRESHOLDS, "random")
        for row in rows:
            checks.add(row)
        if "below_start" in checks.record()["raised"]:
            raised += 1
            assert select_state(rows, "auto").state == "start"
    assert 20 < raised < 180


def test_a_selection_says_what_was_compared() -> None:
    found = select_state(history(validation_gmap=(0.4, 0.3), label_free_score=(0.2, 0.1)), "auto")
    assert found.sentence() == (
        "the start of the training: score without labels 0.2000, at the end 0.1000; validation GMAP 0.4000, at the end 0.3000"
    )
    assert found.record()["compared"] == {GMAP: {"start": 0.4, "end": 0.3}, SCORE: {"start": 0.2, "end": 0.1}}
    assert "losses.gamma" in found.record()["try"]
    assert found.figures() == {
        "selected_start": 1.0,
        "start_validation_gmap": 0.4,
        "validation_gmap": 0.3,
        "start_label_free_score": 0.2,
        "label_free_score": 0.1,
    }
    end = select_state(history(validation_gmap=BETTER), "labels")
    assert end.sentence() == "the end of the training: validation GMAP 0.4000, at the start 0.3000"
    assert "try" not in end.record()
    assert select_state(history(), "end").sentence() == "the end of the training"
