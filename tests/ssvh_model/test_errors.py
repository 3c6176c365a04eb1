from __future__ import annotations

import pickle

import pytest

from ssvh_model.errors import LONGEST, UserError


@pytest.mark.parametrize("found", ["a\nb", "a\r\nb", "a\x1b[2Jb", "a\u2028b", "\x00", "x" * 100_000])
def test_whatever_was_found_the_message_is_one_line_that_a_terminal_only_shows(found: str) -> None:
    message = str(UserError(f"table.csv, line 3: {found}; allowed are numbers"))
    assert len(message.splitlines()) == 1
    assert message.isprintable()
    assert message.startswith("table.csv, line 3: ") and message.endswith("; allowed are numbers")
    assert len(message) <= LONGEST + 5


def test_a_message_that_is_one_line_stays_as_it_is_in_another_process_too() -> None:
    error = UserError("params.yaml: seed is  'ü'; allowed is a whole number")
    assert str(pickle.loads(pickle.dumps(error))) == "params.yaml: seed is  'ü'; allowed is a whole number"
