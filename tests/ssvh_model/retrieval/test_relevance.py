"""Relevance: two videos that share a label."""

import numpy as np
import pytest

from ssvh_model.errors import UserError
from ssvh_model.retrieval.relevance import Relevance, own_positions, relevance_matrix


def test_sharing_one_label_of_several_is_enough() -> None:
    query = [("a", "b"), ("c",), (), ("unknown",)]
    database = [("a",), ("b", "c"), (), ("d",), ("c", "b")]
    expected = [[bool(set(left) & set(right)) for right in database] for left in query]
    np.testing.assert_array_equal(relevance_matrix(query, database), expected)


def test_rows_are_the_rows_of_the_matrix() -> None:
    generator = np.random.default_rng(0)

    def labels(count: int) -> list[tuple[str, ...]]:
        return [
            tuple(generator.choice(list("abcdef"), generator.integers(0, 4), replace=False))
            for _ in range(count)
        ]

    query, database = labels(20), labels(30)
    expected = np.array([[bool(set(left) & set(right)) for right in database] for left in query])
    np.testing.assert_array_equal(Relevance(query, database).rows(5, 12), expected[5:12])


def test_nothing_labelled_is_relevant_to_nothing() -> None:
    assert not relevance_matrix([("a",)], [(), ()]).any()


def test_own_positions() -> None:
    np.testing.assert_array_equal(own_positions(["x", "new", "z"], ["z", "y", "x"]), [2, -1, 0])


def test_an_id_that_stands_twice_is_refused() -> None:
    with pytest.raises(UserError, match="'y' stands there twice"):
        own_positions(["x"], ["y", "x", "y"])
