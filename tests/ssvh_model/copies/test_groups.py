from __future__ import annotations

import itertools

import numpy as np

from ssvh_model.copies.groups import consistent_groups, in_one_group

NONE = np.empty((0, 2), dtype=np.int64)


def slowly(scores: np.ndarray, least: float) -> list[list[int]]:
    """Average linkage by its definition: the two groups that are most alike on average become one, as long as
    that is enough.
    """
    groups = [[row] for row in range(len(scores))]
    while len(groups) > 1:
        pairs = list(itertools.combinations(range(len(groups)), 2))
        means = [scores[np.ix_(groups[first], groups[second])].mean() for first, second in pairs]
        best = int(np.argmax(means))
        if means[best] < least:
            break
        first, second = pairs[best]
        groups[first] = sorted(groups[first] + groups.pop(second))
    return sorted((group for group in groups if len(group) > 1), key=lambda group: (-len(group), group[0]))


def test_groups_are_those_of_average_linkage() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        scores = np.triu(rng.random((14, 14)) ** 2, 1)
        compared = np.argwhere(np.triu(rng.random((14, 14)) < 0.7, 1))
        seen = np.zeros_like(scores)
        seen[tuple(compared.T)] = scores[tuple(compared.T)]
        found = consistent_groups(compared, scores[tuple(compared.T)], least=0.4, same=NONE, videos=14)
        assert [group.tolist() for group in found] == slowly(seen + seen.T, 0.4)


def test_who_is_like_one_of_two_copies_only_is_none() -> None:
    pairs, scores = np.array([[0, 1], [1, 2], [0, 2]]), np.array([0.95, 0.6, 0.1])
    (group,) = consistent_groups(pairs, scores, least=0.5, same=NONE, videos=4)
    assert group.tolist() == [0, 1]
    assert in_one_group([(0, 1), (1, 2), (2, 3)], [group]) == [True, False, False]


def test_what_is_known_is_together_whatever_it_scores() -> None:
    same = np.array([[2, 3], [3, 4]])
    pairs, scores = np.array([[0, 1], [2, 3]]), np.array([0.7, 0.05])
    found = consistent_groups(pairs, scores, least=0.65, same=same, videos=6)
    assert [group.tolist() for group in found] == [[2, 3, 4], [0, 1]]
    assert consistent_groups(NONE, np.empty(0), least=0.5, same=NONE, videos=3) == []
