"""Numbers on pages, compared in as many digits as are shown."""

from __future__ import annotations

import pytest

from tests.browser import agrees

VALUE = 0.30951069976773116


@pytest.mark.parametrize("shown", ["0.30951069976773116", "0.3095", "0.310", "0.309", "0.3", "0.31"])
def test_a_number_cut_or_rounded_agrees(shown: str) -> None:
    assert agrees(shown, VALUE)


@pytest.mark.parametrize("shown", ["0.3096", "0.311", "0.308", "0.4", "3.095e-2"])
def test_another_number_does_not(shown: str) -> None:
    assert not agrees(shown, VALUE)


def test_powers_of_ten_are_read() -> None:
    assert agrees("1.5e-7", 1.5e-7) and agrees("1.5e-7", 1.53e-7) and not agrees("1.5e-7", 1.7e-7)
