"""docs/explanation/promises.md names only tests that there are, and pages that there are."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

PAGE = REPOSITORY / "docs/explanation/promises.md"
PROMISE = re.compile(r"^- (?P<text>.+) \(\[[\w ]+\]\((?P<place>[\w./-]+)\)\)$")
TEST = re.compile(r"^  `(?P<file>tests/[\w/]+\.py)::(?P<name>[\w:]+)`$")


@dataclass
class Promise:
    text: str
    place: str
    tests: list[tuple[str, str]]


def promises(page: str) -> list[Promise]:
    """What the page lists. A line of its lists that is neither a promise nor a test fails."""
    found: list[Promise] = []
    for line in page.splitlines():
        if match := PROMISE.match(line):
            found.append(Promise(match["text"], match["place"], []))
        elif match := TEST.match(line):
            found[-1].tests.append((match["file"], match["name"]))
        else:
            assert not line.startswith(("-", " ")), f"neither promise nor test: {line}"
    return found


def names_of_tests(file: Path) -> set[str]:
    """The names of a file's tests as pytest writes them, such as "test_it" and "TestThings::test_it"."""
    tree = ast.parse(file.read_text())
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    for group in tree.body:
        if isinstance(group, ast.ClassDef):
            names |= {
                f"{group.name}::{node.name}" for node in group.body if isinstance(node, ast.FunctionDef)
            }
    return {name for name in names if name.split("::")[-1].startswith("test_")}


ALL = promises(PAGE.read_text())


@pytest.mark.parametrize("promise", ALL, ids=lambda promise: promise.text[:60])
def test_every_promise_has_its_place_and_tests_that_exist(promise: Promise) -> None:
    assert (PAGE.parent / promise.place).is_file()
    assert promise.tests
    for file, name in promise.tests:
        assert (REPOSITORY / file).is_file(), file
        assert name in names_of_tests(REPOSITORY / file), f"{file} has no {name}"


def test_each_is_listed_once() -> None:
    assert len(ALL) > 40
    assert len({promise.text for promise in ALL}) == len(ALL)


def test_a_test_that_is_gone_is_seen() -> None:
    here = names_of_tests(Path(__file__))
    assert "test_a_test_that_is_gone_is_seen" in here
    assert "test_that_never_was" not in here and "promises" not in here


def test_a_line_of_another_form_is_seen() -> None:
    with pytest.raises(AssertionError, match="neither promise nor test"):
        promises("- Nothing is promised here\n")
