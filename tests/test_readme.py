"""README.md is one page: short, and its links lead somewhere."""

from __future__ import annotations

import re

from tests.conftest import REPOSITORY

TEXT = (REPOSITORY / "README.md").read_text()
MOST_LINES = 180
MOST_CHARACTERS = 100


def test_it_is_one_page() -> None:
    lines = TEXT.splitlines()
    assert len(lines) <= MOST_LINES
    assert not [line for line in lines if len(line) > MOST_CHARACTERS]


def test_its_links_lead_somewhere() -> None:
    places = re.findall(r"\]\((?!https?://)([^)#]+)", TEXT)
    assert len(places) > 10
    assert not [place for place in places if not (REPOSITORY / place).exists()]
