from __future__ import annotations

from typing import Any

from ssvh_model.training.convergence import Reached, best, reach

HISTORY: list[dict[str, Any]] = [
    {"epoch": 1, "seconds": 2.0},
    {"epoch": 2, "seconds": 2.0, "validation_gmap": 0.1},
    {"epoch": 3, "seconds": 3.0},
    {"epoch": 4, "seconds": 3.0, "validation_gmap": 0.3},
    {"epoch": 5, "seconds": 1.0, "validation_gmap": 0.2},
]


def test_the_first_epoch_at_the_level_counts_with_all_seconds_before_it() -> None:
    assert reach(HISTORY, "validation_gmap", 0.05) == Reached(2, 4.0)
    assert reach(HISTORY, "validation_gmap", 0.2) == Reached(4, 10.0)
    assert reach(HISTORY, "validation_gmap", 0.3) == Reached(4, 10.0)


def test_a_level_that_is_never_reached() -> None:
    assert reach(HISTORY, "validation_gmap", 0.31) == Reached(None, None)
    assert reach(HISTORY, "other", 0.0) == Reached(None, None)


def test_the_best() -> None:
    assert best(HISTORY, "validation_gmap") == 0.3
    assert best(HISTORY, "other") is None
