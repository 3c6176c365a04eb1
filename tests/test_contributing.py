"""The changes that CONTRIBUTING.md shows: each patch fits the code as it is, and its command does what is
said.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ssvh_model.manifest import Video, write_manifest
from tests.conftest import REPOSITORY

TEXT = (REPOSITORY / "CONTRIBUTING.md").read_text()
EXAMPLES = {
    title: (patch, command)
    for title, patch, command in re.findall(
        r"^## ([^\n]*)\n(?:(?!^## ).)*?^```diff\n(.*?)^```\n+^```\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL
    )
}
FILES = ("ssvh_model", "tasks", "flows", "tests", "dvc.yaml", "params.yaml", "pyproject.toml", ".dvcignore")
# More would be too many (how many it takes is said in the text).
MOST_FILES = {
    "A loss term": 6,
    "A stage": 3,
    "A backbone": 3,
    "A condition of the promotion gate": 2,
    "A command": 1,
}
PRINTED = {
    "A stage": "2 videos have 2 labels",
    "A command": "round 1: 15 epochs, 16, 32 clusters",
}


def test_all_five_changes_are_there() -> None:
    assert EXAMPLES.keys() == MOST_FILES.keys()


@pytest.mark.parametrize("title", EXAMPLES)
def test_the_patch_fits(title: str) -> None:
    check = ["git", "apply", "--check", "-"]
    done = subprocess.run(check, cwd=REPOSITORY, input=EXAMPLES[title][0], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("title", EXAMPLES)
def test_the_change_works(title: str, tmp_path: Path) -> None:
    patch, command = EXAMPLES[title]
    assert len(re.findall(r"^diff --git", patch, re.MULTILINE)) == MOST_FILES[title]
    for name in FILES:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "failed"))
        else:
            shutil.copy(source, tmp_path / name)
    _make_project(tmp_path)
    subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=patch, text=True, check=True)
    # The environment is the one of this process, wherever it is.
    program, *arguments = command.split()
    program = str(Path(sys.executable).parent / Path(program).name)
    words = [sys.executable, "-m", "flows.cli"] if Path(program).name == "ssvh" else [program]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "MLFLOW"))},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(tmp_path),
    }
    done = subprocess.run(
        [*words, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert PRINTED.get(title, "passed") in output


def _make_project(folder: Path) -> None:
    """What the stage of the example reads."""
    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    (folder / "data/features").mkdir(parents=True)
    videos = [Video(name, f"{name}.mp4", labels=(name,), split="train") for name in ("cat", "dog")]
    write_manifest(folder / "data/features/manifest.csv", videos)
