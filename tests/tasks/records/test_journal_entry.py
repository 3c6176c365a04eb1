from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.records.journal import Journal, _read
from tasks.records.journal_entry import is_entry


def test_what_a_journal_writes_is_an_entry(project: Path) -> None:
    journal = Journal(lambda _: "no answer", "sqlite:///nowhere.db", "ab12", lambda _: None)
    journal.metrics("ab12", {"loss": 0.5, "gap": float("nan"), "count": 3}, step=7)
    journal.tags("ab12", {"mlflow.note.content": "ü\nb"})
    journal.status("ab12", "FAILED")
    journal.status("ab12", "KILLED", final=True)
    entries = [json.loads(line) for line in journal.path.read_text().splitlines()]
    journal.close(0)
    assert entries[0] == {"store": "sqlite:///nowhere.db"}
    assert [is_entry(entry) for entry in entries[1:]] == [True] * 4


@pytest.mark.parametrize(
    "entry",
    [
        None,
        0.5,
        [],
        {},
        {"run": "ab12"},
        {"tags": {"a": "b"}},
        {"run": None, "tags": {"a": "b"}},
        {"run": 12, "status": "FINISHED", "end_time": 1},
        {"run": "../x", "tags": {"a": "b"}},
        {"run": "ab12", "tags": {"a": 1}},
        {"run": "ab12", "tags": {"a": "\ud800"}},
        {"run": "ab12", "metrics": [["loss", "x", 1, 1]]},
        {"run": "ab12", "metrics": [["loss", 0.5, 2**63, 1]]},
        {"run": "ab12", "metrics": [["loss", 0.5, 1]]},
        {"run": "ab12", "status": "LOST", "end_time": 1},
        {"run": "ab12", "status": "FINISHED"},
        {"run": "ab12", "status": "FINISHED", "end_time": 1, "final": "yes"},
        {"run": "ab12", "tags": {"a": "b"}, "status": "FINISHED", "end_time": 1},
    ],
)
def test_anything_else_is_passed_over_and_what_follows_is_kept(tmp_path: Path, entry: Any) -> None:
    good = {"run": "ab12", "tags": {"a": "b"}}
    path = tmp_path / "ab12-1-2.jsonl"
    path.write_bytes(b"\xff\xfe{\n" + b"[" * 100_000 + b"\n" + json.dumps(entry).encode() + b"\n")
    with open(path, "a") as file:
        file.write(json.dumps(good) + "\n" + '{"run": "ab12", "ta')
    with open(path, errors="replace") as file:
        assert _read(file) == (None, [good])
