"""The score that needs no labels, beside a plain version of its parts and on codes whose worth is known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_mutual_info_score

from ssvh_model.retrieval.codes import sign_codes
from ssvh_model.training import label_free
from ssvh_model.training.label_free import NEIGHBOURS, SAMPLES, Views, label_free_score, score_differences

VIDEOS, KINDS, BITS = 240, 12, 32


def corpus(seed: int = 0) -> tuple[np.ndarray, Views]:
    """Kinds, and what a start sees: the kind, something of each video alone, and noise."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, KINDS, VIDEOS)
    video = 1.5 * rng.normal(size=(KINDS, 40))[kind] + rng.normal(size=(VIDEOS, 40))
    return kind, Views(*(video + 0.3 * rng.normal(size=video.shape) for _ in range(3)))


def codes_by(owners: np.ndarray, flipped: float) -> Views:
    """The code of each video's owner, with a share of bits flipped, anew in each view."""
    rng = np.random.default_rng(1)
    codes = sign_codes(rng.normal(size=(owners.max() + 1, BITS)))[owners]
    return Views(
        *(np.where(rng.random(codes.shape) < flipped, -codes, codes).astype(np.int8) for _ in range(3))
    )


def test_the_parts_are_what_loops_over_rankings_give(monkeypatch: pytest.MonkeyPatch) -> None:
    kind, reference = corpus()
    codes = codes_by(kind, 0.1)
    rng = np.random.default_rng(2)
    orders = 200  # ties by their expectation, over many random orders
    kept = own = 0.0
    centred = reference.whole - reference.whole.mean(axis=0)
    directions = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    for video in range(VIDEOS):
        others = np.flatnonzero(np.arange(VIDEOS) != video)
        near = set(others[np.argsort(-(directions[others] @ directions[video]))][:NEIGHBOURS])
        distance = (codes.whole != codes.whole[video]).sum(axis=1)[others]
        for _ in range(orders):
            ranked = others[np.lexsort((rng.random(len(others)), distance))][:NEIGHBOURS]
            kept += len(near & set(ranked)) / NEIGHBOURS / orders / VIDEOS
        halves = (codes.second != codes.first[video]).sum(axis=1)
        before = (halves < halves[video]).sum() + ((halves == halves[video]).sum() - 1) / 2
        own += 1 / (1 + before) / VIDEOS
    monkeypatch.setattr(label_free, "agreement_of_points", lambda *_, **__: 1.0)
    assert label_free_score(codes, reference, seed=0) == pytest.approx(kept * (1 - own), abs=5e-3)


def test_codes_of_kinds_score_above_those_of_single_videos_of_chance_and_collapsed_ones() -> None:
    kind, reference = corpus()
    chance = Views(
        *(sign_codes(np.random.default_rng(view).normal(size=(VIDEOS, BITS))) for view in range(3))
    )
    scores = {
        "kinds": label_free_score(codes_by(kind, 0.1), reference, seed=0),
        "blurred kinds": label_free_score(codes_by(kind, 0.25), reference, seed=0),
        "single videos": label_free_score(codes_by(np.arange(VIDEOS), 0.05), reference, seed=0),
        "chance": label_free_score(chance, reference, seed=0),
        "collapsed": label_free_score(codes_by(np.zeros(VIDEOS, dtype=np.int64), 0.0), reference, seed=0),
    }
    assert (
        scores["kinds"]
        > scores["blurred kinds"]
        > 5 * max(scores["single videos"], scores["chance"], scores["collapsed"])
    )
    assert scores["kinds"] == label_free_score(codes_by(kind, 0.1), reference, seed=0)
    # The reference's clusters are the kinds here, so that a hidden truth and the score's first part are one.
    assert adjusted_mutual_info_score(
        kind, codes_by(kind, 0.0).whole @ (2 ** np.arange(BITS))
    ) == pytest.approx(1)


@pytest.mark.slow
def test_differences_are_of_the_same_halves_and_zero_for_the_same_codes() -> None:
    kind, reference = corpus()
    good, bad = codes_by(kind, 0.05), codes_by(kind, 0.3)
    found = score_differences(good, bad, reference, seed=1)
    assert found.shape == (SAMPLES,) and (found > 0).all()
    assert (score_differences(good, good, reference, seed=1) == 0).all()
    assert (found == -score_differences(bad, good, reference, seed=1)).all()


def test_few_videos_have_a_score_too() -> None:
    kind, reference = corpus()
    rows = np.arange(6)
    assert 0 <= label_free_score(codes_by(kind, 0.1).of(rows), reference.of(rows), seed=0) <= 1
