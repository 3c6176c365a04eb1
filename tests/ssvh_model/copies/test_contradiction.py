from __future__ import annotations

import itertools

import numpy as np
import pytest

from ssvh_model.copies.contradiction import FEWEST_OTHERS, contradictions, joint_scores


def naive(scores: np.ndarray, first: int, second: int) -> tuple[float, int]:
    """By all third videos, from a table of all scores, 0 for pairs that were not compared."""
    others = [third for third in range(len(scores)) if third not in (first, second)]
    both = [
        max(
            scores[first, third] * (1 - scores[second, third]),
            scores[second, third] * (1 - scores[first, third]),
        )
        for third in others
        if scores[first, third] > 0 or scores[second, third] > 0
    ]
    return max(both, default=0.0), len(both)


def test_the_strongest_contradiction_is_that_of_all_third_videos() -> None:
    rng = np.random.default_rng(0)
    for trial in range(20):
        table = np.triu(rng.random((12, 12)) ** 2, 1)
        compared = np.argwhere(np.triu(rng.random((12, 12)) < trial / 20, 1))
        scores = table[tuple(compared.T)]
        scores[rng.random(len(scores)) < 0.1] = 0.0  # not comparable
        seen = np.zeros_like(table)
        seen[tuple(compared.T)] = scores
        wanted = [naive(seen + seen.T, first, second) for first, second in compared.tolist()]
        strongest, others = contradictions(compared, scores)
        assert list(zip(strongest.tolist(), others.tolist(), strict=True)) == wanted


def scored(table: dict[tuple[int, int], float], videos: int, rest: float) -> dict[tuple[int, int], float]:
    pairs = np.array(list(itertools.combinations(range(videos), 2)))
    alone = np.array([table.get((first, second), rest) for first, second in pairs.tolist()])
    joint = joint_scores(pairs, alone)
    return dict(zip(map(tuple, pairs.tolist()), joint.tolist(), strict=True))


def test_who_is_like_one_of_two_copies_only_counts_less() -> None:
    joint = scored({(0, 1): 0.95, (1, 2): 0.6}, 8, 0.02)
    assert joint[0, 1] > 0.9
    assert joint[1, 2] < 0.3
    # Had video 1 no copy, that likeness would count for more than it does alone.
    assert scored({(1, 2): 0.6}, 8, 0.02)[1, 2] > 0.6


def test_many_copies_do_not_speak_against_each_other() -> None:
    copies = dict.fromkeys(itertools.combinations(range(6), 2), 0.9)
    joint = scored(copies, 9, 0.02)
    assert all(joint[pair] > 0.9 for pair in copies)
    assert all(score < 0.1 for pair, score in joint.items() if pair not in copies)


def test_without_third_videos_a_pair_keeps_its_score() -> None:
    pairs = np.array([(0, third) for third in range(1, FEWEST_OTHERS + 1)])
    alone = np.full(len(pairs), 0.4)
    assert joint_scores(pairs, alone) == pytest.approx(alone)
    assert joint_scores(pairs[:0], alone[:0]).shape == (0,)


def test_order_says_nothing_and_what_could_not_be_compared_stays_0() -> None:
    rng = np.random.default_rng(0)
    pairs = np.array(list(itertools.combinations(range(9), 2)))
    alone = rng.random(len(pairs))
    alone[:3] = 0.0
    alone[3] = 1.0
    joint = joint_scores(pairs, alone)
    assert joint[:3].tolist() == [0.0] * 3
    assert np.isfinite(joint).all() and joint.min() >= 0 and joint.max() <= 1
    order = rng.permutation(len(pairs))
    assert joint_scores(pairs[order][:, ::-1], alone[order]) == pytest.approx(joint[order])
