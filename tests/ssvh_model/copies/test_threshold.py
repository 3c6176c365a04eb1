from __future__ import annotations

import numpy as np
import pytest

from ssvh_model.copies.threshold import FEWEST, least_score
from ssvh_model.errors import UserError


def slowly(scores: np.ndarray, duplicate: np.ndarray, precision: float) -> set[int]:
    """The largest set of pairs above some score of which enough are duplicates, by trying every score."""
    sets = [set(np.flatnonzero(scores >= score)) for score in scores]
    enough = [one for one in sets if sum(duplicate[row] for row in one) >= precision * len(one)]
    return max(enough, key=len)


def test_the_threshold_keeps_as_many_pairs_as_may_be_kept() -> None:
    rng = np.random.default_rng(0)
    for trial in range(50):
        duplicate = rng.random(60) < 0.5
        scores = np.clip(rng.normal(0.3 + 0.4 * duplicate, 0.15), 0, 1).round(trial % 3 + 1)  # ties, too
        found = least_score(scores, duplicate, precision=0.9)
        above = set(np.flatnonzero(scores >= found.least))
        assert above == slowly(scores, duplicate, 0.9)
        assert (found.above, found.right) == (len(above), sum(duplicate[row] for row in above))
        assert found.missed == duplicate.sum() - found.right


def test_where_scores_tell_all_the_threshold_lies_halfway() -> None:
    scores = np.array([0.9] * FEWEST + [0.3] * FEWEST)
    assert least_score(scores, scores > 0.5).least == pytest.approx(0.6)


def test_too_few_decisions_and_scores_that_tell_nothing_are_refused() -> None:
    scores = np.linspace(0, 1, 2 * FEWEST)
    with pytest.raises(
        UserError, match=rf"{FEWEST} decided pairs of either kind; 3 were called duplicates and 17"
    ):
        least_score(scores, np.arange(2 * FEWEST) < 3)
    with pytest.raises(UserError, match="no score tells"):
        least_score(np.full(2 * FEWEST, 0.5), np.arange(2 * FEWEST) < FEWEST)
