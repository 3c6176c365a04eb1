"""AP@K by scenario, against brute force over every order of the ties, and against the released code's
values.
"""

from collections.abc import Sequence
from itertools import pairwise, permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssvh_model.retrieval.average_precision import (
    average_precision,
    expected_hit_precision,
    standard_form,
)
from ssvh_model.retrieval.relevance import relevance_matrix
from ssvh_model.retrieval.tie_groups import TieGroups, group_by_value
from tests.ssvh_model.retrieval.naive import group_by_hamming


def average_precision_standard(groups: TieGroups, ks: Sequence[int]) -> np.ndarray:
    return standard_form(average_precision(groups, ks), groups.total_relevant, ks)


def naive_ap(ranking: list[bool], k: int) -> float:
    """AP@K of one fully ordered ranking, divided by K, from its definition."""
    return sum(np.mean(ranking[: r + 1]) for r in range(min(k, len(ranking))) if ranking[r]) / k


def brute_force_ap(distances: list[int], relevant: list[bool], k: int) -> float:
    """Mean of AP@K over every order of the videos that respects the distances."""
    values = [
        naive_ap([relevant[i] for i in order], k)
        for order in permutations(range(len(distances)))
        if all(distances[a] <= distances[b] for a, b in pairwise(order))
    ]
    return float(np.mean(values))


def hamming(
    distances: list[list[int]], relevant: list[list[bool]], own: list[int] | None = None
) -> TieGroups:
    values = np.array(distances, dtype=np.uint16)
    return group_by_hamming(
        values, np.array(relevant), bits=int(values.max()), own=np.array(own if own else [-1] * len(values))
    )


def by_value(
    distances: list[list[int]], relevant: list[list[bool]], own: list[int] | None = None, depth: int = 6
) -> TieGroups:
    values = np.array(distances, dtype=np.float32)
    return group_by_value(
        values, np.array(relevant), depth=depth, own=np.array(own if own else [-1] * len(values))
    )


BOTH = pytest.mark.parametrize("group", [hamming, by_value])


@BOTH
def test_perfect_ranking(group) -> None:
    groups = group([[0, 1, 2, 3, 4]], [[True, True, False, False, False]])
    np.testing.assert_allclose(average_precision(groups, [1, 2, 4]), [[1, 1, 0.5]])
    np.testing.assert_allclose(average_precision_standard(groups, [1, 2, 4]), [[1, 1, 1]])


@BOTH
def test_all_tied_is_the_mean_over_all_orders(group) -> None:
    relevant = [True, False, True, False, False, True]
    groups = group([[3] * 6], [relevant])
    for k in (1, 3, 6):
        expected = brute_force_ap([3] * 6, relevant, k)
        assert average_precision(groups, [k])[0, 0] == pytest.approx(expected, abs=1e-12)


@BOTH
def test_all_tied_does_not_depend_on_the_order_of_the_database(group) -> None:
    first = group([[2, 2, 2, 2]], [[True, False, False, False]])
    last = group([[2, 2, 2, 2]], [[False, False, False, True]])
    np.testing.assert_array_equal(average_precision(first, [3]), average_precision(last, [3]))


@BOTH
def test_self_in_database_takes_no_rank(group) -> None:
    groups = group([[0, 1, 2]], [[True, False, True]], [0])
    np.testing.assert_allclose(average_precision(groups, [2]), [[0.5 / 2]])
    np.testing.assert_array_equal(groups.total_relevant, [1])
    kept = group([[0, 1, 2]], [[True, False, True]])
    np.testing.assert_allclose(average_precision(kept, [2]), [[1 / 2]])


@BOTH
def test_fewer_than_k_in_the_database(group) -> None:
    groups = group([[0, 1, 1]], [[True, True, True]])
    np.testing.assert_allclose(average_precision(groups, [5]), [[3 / 5]])
    np.testing.assert_allclose(average_precision_standard(groups, [5]), [[1]])


@BOTH
def test_no_relevant_gives_zero(group) -> None:
    groups = group([[0, 1, 1]], [[False, False, False]])
    assert not average_precision(groups, [2]).any() and not average_precision_standard(groups, [2]).any()


@BOTH
def test_only_the_query_itself_in_the_database(group) -> None:
    groups = group([[1]], [[True]], [0])
    assert not average_precision(groups, [2]).any() and groups.total_relevant[0] == 0


@settings(max_examples=60)
@given(
    videos=st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=6),
    own=st.integers(-1, 5),
    k=st.integers(1, 7),
)
def test_equals_brute_force_over_every_order(videos: list[tuple[int, bool]], own: int, k: int) -> None:
    own = own if own < len(videos) else -1
    distances, relevant = [list(column) for column in zip(*videos, strict=True)]
    rest = [video for index, video in enumerate(videos) if index != own]
    expected = brute_force_ap([d for d, _ in rest], [r for _, r in rest], k) if rest else 0.0
    for groups in (
        hamming([distances], [relevant], [own]),
        by_value([distances], [relevant], [own], depth=k),
    ):
        assert average_precision(groups, [k])[0, 0] == pytest.approx(expected, abs=1e-12)
        total = sum(r for _, r in rest)
        assert groups.total_relevant[0] == total
        standard = expected * k / min(k, total) if total else 0.0
        assert average_precision_standard(groups, [k])[0, 0] == pytest.approx(standard, abs=1e-12)


def test_large_rankings_of_both_kinds_agree() -> None:
    generator = np.random.default_rng(1)
    distances = generator.binomial(16, 0.4, (40, 500)).astype(np.uint16)
    relevant = generator.random((40, 500)) < 0.1
    own = generator.integers(-1, 500, 40)
    counted = group_by_hamming(distances, relevant, bits=16, own=own)
    sorted_ = group_by_value(distances / 16, relevant, depth=100, own=own)
    np.testing.assert_allclose(
        expected_hit_precision(counted, 100), expected_hit_precision(sorted_, 100), rtol=0, atol=1e-12
    )
    np.testing.assert_array_equal(counted.total_relevant, sorted_.total_relevant)


def test_equals_the_mean_over_random_orders() -> None:
    generator = np.random.default_rng(2)
    distances, relevant = generator.integers(0, 4, 60), generator.random(60) < 0.3
    trials = []
    for _ in range(4000):
        order = np.lexsort((generator.random(60), distances))
        hits = relevant[order]
        trials.append((hits.cumsum() / np.arange(1, 61) * hits)[:20].sum() / 20)
    expected = average_precision(hamming([list(distances)], [list(relevant)]), [20])[0, 0]
    assert np.mean(trials) == pytest.approx(expected, abs=4 * np.std(trials) / np.sqrt(len(trials)))


def test_golden_values_of_the_released_code(shared: Path) -> None:
    """MAP@K of EliSpectre/CVPR25-AutoSSVH@bf07c35 for given rankings; a ranking is distances without ties."""
    golden = np.load(shared / "golden" / "reference_values.npz")
    ranking = golden["map_ranking"].T
    distances = np.empty_like(ranking)
    np.put_along_axis(distances, ranking, np.arange(ranking.shape[1])[None, :], axis=1)
    relevant = relevance_matrix(
        [(str(label),) for label in golden["map_query_labels"]],
        [(str(label),) for label in golden["map_db_labels"]],
    )
    nobody = np.full(len(ranking), -1)
    ks = [int(k) for k in golden["map_ks"]]
    for groups in (
        group_by_hamming(distances, relevant, bits=ranking.shape[1], own=nobody),
        group_by_value(distances, relevant, depth=max(ks), own=nobody),
    ):
        np.testing.assert_allclose(
            average_precision(groups, ks).mean(axis=0), golden["map_values"], rtol=0, atol=1e-5
        )
