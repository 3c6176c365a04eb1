"""What the gate's conditions say of figures that are given."""

from __future__ import annotations

import numpy as np
import pytest

from ssvh_model.retrieval.gmap import MAP_KS, gmap
from tasks.params.load import load_params
from tasks.promotion.gate import Check, Measured, judge
from tests.conftest import REPOSITORY

QUERIES = 80
ITQ = np.random.default_rng(0).uniform(0.2, 0.6, size=(QUERIES, 6))


def held_against_itq(average_precision: np.ndarray) -> Check:
    """The condition on ITQ, of a challenger with these average precisions."""

    def gmap_of(values: np.ndarray) -> float:
        return gmap(dict(zip(MAP_KS, values.mean(axis=0), strict=True)))

    challenger = Measured(
        version="1",
        gmap=gmap_of(average_precision),
        itq=gmap_of(ITQ),
        float_=None,
        reasons={},
        average_precision=average_precision,
        itq_average_precision=ITQ,
        bits=64,
        videos_per_second=1000,
        megabytes=1,
        checks_raised="none",
    )
    settings = load_params(REPOSITORY / "params.yaml").promotion
    verdict = judge(challenger, None, settings, seed=1, unmeasured=False)
    (check,) = (check for check in verdict.checks if "ITQ" in check.name)
    assert verdict.passed == check.passed
    return check


def test_above_itq_passes() -> None:
    assert held_against_itq(ITQ + 0.05).passed


def test_below_itq_by_no_more_than_queries_leave_to_chance_passes_and_says_so() -> None:
    scattered = ITQ + np.random.default_rng(1).normal(0, 0.1, size=(QUERIES, 1))
    check = held_against_itq(scattered)
    assert check.passed
    assert "difference -0.0" in check.found and ", +0.0" in check.found


def test_below_itq_by_more_than_chance_fails() -> None:
    assert held_against_itq(ITQ - 0.02).passed is False


@pytest.mark.parametrize("loss", [0.0, 0.001])
def test_below_itq_on_every_query_is_no_chance(loss: float) -> None:
    assert held_against_itq(ITQ - loss).passed is (loss == 0)
