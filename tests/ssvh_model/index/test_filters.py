from __future__ import annotations

import pytest

from ssvh_model.errors import UserError
from ssvh_model.index.filters import Filters, Wanted


def test_what_was_typed_is_read() -> None:
    assert Filters.parse(None, None, None, None, "") == Filters()
    read = Filters.parse(["cats"], "1.5", "20", "7", "a")
    assert read == Filters(("cats",), 1.5, 20.0, 7, "a")
    assert read.of_videos and not Filters(max_distance=7).of_videos and Filters(min_seconds=0.0).of_videos


@pytest.mark.parametrize("typed", ["", "x", "a\nb", "-1", "nan", "inf", "1e999"])
def test_what_is_no_number_from_0_is_refused(typed: str) -> None:
    for place, name in enumerate(("min_seconds", "max_seconds", "max_distance")):
        given: list[str | None] = [None, None, None]
        given[place] = typed
        with pytest.raises(UserError) as refused:
            Filters.parse((), *given, "")
        kind = "whole numbers" if name == "max_distance" else "numbers"
        assert str(refused.value) == f"{name} is {typed!r}; allowed are {kind} from 0"


def test_python_is_told_the_same() -> None:
    with pytest.raises(UserError, match="min_seconds is -1; allowed are numbers from 0"):
        Filters(min_seconds=-1)
    with pytest.raises(UserError, match="max_distance is -1; allowed are whole numbers from 0"):
        Filters(max_distance=-1)
    with pytest.raises(UserError, match="text has 201 characters; allowed are up to 200"):
        Filters(text="a" * 201)
    with pytest.raises(UserError, match="count is 0; allowed are whole numbers from 1"):
        Wanted(0)
