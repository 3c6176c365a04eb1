"""Texts on their way to a terminal."""

from __future__ import annotations

from ssvh_model.texts import listed


def test_of_many_the_first_are_listed_and_the_others_counted() -> None:
    assert listed([], 2) == ""
    assert listed(["a", "b"], 2) == "a, b"
    assert listed(["a", "b", "c", "d"], 2) == "a, b and 2 more"
