"""The page about damaged files says what the record says."""

from __future__ import annotations

import json
import re

from tests.conftest import REPOSITORY
from tests.fuzz.readers import KINDS

PAGE = (REPOSITORY / "docs/explanation/fuzzing.md").read_text()
RECORD = json.loads((REPOSITORY / "benchmarks/results/fuzz.json").read_text())["kinds"]


def test_the_table_is_that_of_the_record() -> None:
    rows = re.findall(
        r"^\| ([\w ]+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| ([\d.]+) s \|$", PAGE, re.MULTILINE
    )
    names = ("inputs", "accepted", "refused", "failures")
    shown = {kind: (*map(int, counts), float(slowest)) for kind, *counts, slowest in rows}
    assert shown == {
        kind: (*(found[name] for name in names), found["slowest_seconds"]) for kind, found in RECORD.items()
    }
    assert RECORD.keys() == set(KINDS)
