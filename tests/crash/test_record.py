"""The page about random kills says what the record says."""

from __future__ import annotations

import json
import re

from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs/explanation/crashes.md").read_text()
RECORD = json.loads((REPOSITORY / "benchmarks/results/crash.json").read_text())


def test_the_counts_are_those_of_the_record() -> None:
    shown = {
        name: int(count) for name, count in re.findall(r"^\| ([\w ,]+) \| (\d+) \|$", PAGE, re.MULTILINE)
    }
    assert shown == RECORD["kills_by_command"]
    assert sum(shown.values()) == RECORD["kills"]
    assert (
        f"**{RECORD['kills']} kills in {RECORD['scenarios']} scenarios, {RECORD['of_the_pipeline']} of them "
        f"of the whole pipeline; {RECORD['needed_a_person']} needed a person.**" in " ".join(PAGE.split())
    )


def test_the_six_kinds_are_those_of_the_record() -> None:
    found = re.findall(r"^\| ([\w ]+) \| (\d+) \| (\d+) \|$", PAGE, re.MULTILINE)
    counts = RECORD["kills_of_the_pipeline_by_victim_and_moment"]
    assert {name for name, _, _ in found} == {"everything", "the stage", "the root alone"}
    for name, early, later in found:
        assert (int(early), int(later)) == (
            counts[f"{name}, in the first 15 s"],
            counts[f"{name}, later"],
        )
