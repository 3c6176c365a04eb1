from __future__ import annotations

import json
import multiprocessing
from collections.abc import Sequence
from pathlib import Path

import pytest

from ssvh_model.errors import UserError
from ssvh_model.index.known import Known
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
    ("then", "now", "counts"),
    [
        (Known("", "a/night.mp4", "1" * 64), Known("new label", "a/night.mp4", "1" * 64), True),
        (Known("", "a/night.mp4", "1" * 64), Known("", "moved/night.mp4", "1" * 64), True),
        (Known("", "a/night.mp4", "1" * 64), Known("", "a/night.mp4", "2" * 64), False),
        (Known("", "a/night.mp4", "1" * 64), Known("", "b/night.mp4", None), False),
        (Known("", "a/night.mp4", None), Known("", "b/night.mp4", "2" * 64), False),
        # A new champion, for whom the file was decoded again and looked at.
        (Known("", "a/night.mp4", None), Known("", "a/night.mp4", "1" * 64), True),
        (Known("", "", None), Known("", "a/night.mp4", "1" * 64), True),
        (Known("", "a/night.mp4", "1" * 64), None, False),
    ],
)
def test_a_decision_is_about_two_files(tmp_path: Path, then: Known, now: Known | None, counts: bool) -> None:
    other = Known("", "cats/2.mp4", None)
    decisions = Decisions(tmp_path)
    decisions.decide("night", "cats/2", "duplicate", {"night": then, "cats/2": other})
    index = {"cats/2": other, **({} if now is None else {"night": now})}

    def known(ids: Sequence[str]) -> dict[str, Known]:
        assert ids == ["cats/2", "night"]
        return index

    assert (("cats/2", "night") in decisions.counting(known)) == counts
    assert ("cats/2", "night") in decisions.read(), "the file may come back"


def test_a_decision_from_before_files_were_noted_goes_by_ids(tmp_path: Path) -> None:
    decisions = Decisions(tmp_path)
    decisions.path.parent.mkdir()
    old = {"first": "a", "second": "b", "decision": "duplicate", "at": "2026-11-01T00:00:00+00:00"}
    decisions.path.write_text(json.dumps({"format": 1, "decisions": [old]}))
    index = {"a": Known("", "a.mp4", "1" * 64), "b": Known("", "b.mp4", None)}
    assert decisions.counting(lambda ids: index)["a", "b"].decision == "duplicate"


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
