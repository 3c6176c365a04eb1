"""Features that are kept for the next extraction: whole under their name, or not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.extraction.earlier import EARLIER, earlier_features, keep_features
from tests.conftest import REPOSITORY

PIPELINE = """
stages:
  features: {cmd: "true", deps: [data/corpus, code], params: [seed], outs: [data/features]}
"""
KEEP = """
import sys
from pathlib import Path
from tasks.extraction.earlier import keep_features
name, only = sys.argv[1], sys.argv[2] == "only"
files = {file.name: file for file in Path("made").iterdir()}
for _ in range(30):
    keep_features(name, files, only=only)
"""


@pytest.fixture
def made(project: Path) -> dict[str, Path]:
    """What an extraction has made, in a project with the stage `features`."""
    (project / "dvc.yaml").write_text(PIPELINE)
    for name in ("features.h5", "manifest.csv", *(f"shards/{number}.h5" for number in range(20))):
        path = Path("made") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return {file.name: file for file in Path("made").iterdir()}


def contents() -> list[set[str]]:
    return [
        {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        for folder in earlier_features()
    ]


def test_processes_that_keep_features_at_once_do_not_disturb_each_other(made: dict[str, Path]) -> None:
    command = [sys.executable, "-c", KEEP]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    processes = [
        subprocess.Popen([*command, *how], env=environment, stderr=subprocess.PIPE, text=True)
        for how in (["watch", "all"], ["watch", "all"], ["features", "only"])
    ]
    errors = [process.communicate(timeout=250)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], errors
    whole = {"features.h5", "manifest.csv", *(f"shards/{number}.h5" for number in range(20))}
    assert contents() and all(found == whole for found in contents())


def test_what_a_killed_process_left_goes_and_is_never_taken_for_features(made: dict[str, Path]) -> None:
    keep_features("features", made, only=True)
    for name in (".features.123.tmp", ".features.tmp"):
        (EARLIER / name).mkdir()
        (EARLIER / name / "features.h5").write_text("half")
    assert len(earlier_features()) == 1
    keep_features("watch", made, only=False)
    assert len(earlier_features()) == 2
    assert not list(EARLIER.glob(".*"))
