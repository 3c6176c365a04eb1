from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from ssvh_model.errors import UserError
from tasks.serving.decisions import Decisions


def decide_many(folder: Path, name: str) -> None:
    for number in range(10):
        Decisions(folder).decide(f"{name}{number}", "z", "duplicate")


def test_processes_that_decide_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=decide_many, args=(tmp_path, name)) for name in "ab"]
    for other in others:
        other.start()
    for other in others:
        other.join()
    decisions = Decisions(tmp_path)
    assert len(decisions.read()) == 20
    decisions.decide("z", "a0", "not a duplicate")
    assert decisions.read()["a0", "z"].decision == "not a duplicate"
    decisions.decide("a0", "z", None)
    assert len(decisions.read()) == 19


@pytest.mark.parametrize(
    "content",
    [
        "no JSON",
        "[]",
        json.dumps({"format": 2, "decisions": []}),
        json.dumps({"format": 1, "decisions": [{"first": "a"}]}),
        json.dumps(
            {"format": 1, "decisions": [{"first": "a", "second": "b", "decision": "maybe", "at": ""}]}
        ),
        json.dumps(
            {"format": 1, "decisions": [{"first": 1, "second": "b", "decision": "duplicate", "at": ""}]}
        ),
    ],
)
def test_a_damaged_file_is_named_and_kept(tmp_path: Path, content: str) -> None:
    decisions = Decisions(tmp_path)
    decisions.path.parent.mkdir()
    decisions.path.write_text(content)
    with pytest.raises(UserError, match=r"decisions\.json: not readable"):
        decisions.decide("a", "b", "duplicate")
    assert decisions.path.read_text() == content
