"""The GitHub workflows: pinned actions, no more rights than needed, and only make targets that there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import REPOSITORY

FILES = sorted((REPOSITORY / ".github/workflows").glob("*.yml"))
READ = {"contents": "read"}
# Jobs that may do more than read.
MAY = {
    ("release.yml", "publish"): {"contents": "write", "id-token": "write", "attestations": "write"},
    ("docs.yml", "publish"): {"pages": "write", "id-token": "write"},
    ("difference.yml", "comment"): {"contents": "read", "pull-requests": "write"},
}


def read(file: Path) -> Any:
    return YAML(typ="safe").load(file.read_text())


def steps(file: Path) -> list[dict[str, Any]]:
    return [step for job in read(file)["jobs"].values() for step in job["steps"]]


def test_there_are_workflows() -> None:
    assert {file.name for file in FILES} == {
        "ci.yml",
        "difference.yml",
        "docs.yml",
        "newest.yml",
        "nightly.yml",
        "release.yml",
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
class TestOfEveryWorkflow:
    def test_actions_are_pinned_by_commit_and_named_by_version(self, file: Path) -> None:
        used = re.findall(r"uses: *(.*)", file.read_text())
        assert len(used) == sum("uses" in step for step in steps(file)) > 0
        for one in used:
            assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one), one

    def test_jobs_may_read_and_no_more(self, file: Path) -> None:
        workflow = read(file)
        assert workflow["permissions"] == READ
        for name, job in workflow["jobs"].items():
            assert job.get("permissions", READ) == MAY.get((file.name, name), READ), name

    def test_the_token_does_not_stay_in_the_clone(self, file: Path) -> None:
        for step in steps(file):
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False

    def test_jobs_end(self, file: Path) -> None:
        assert all(0 < job["timeout-minutes"] < 360 for job in read(file)["jobs"].values())

    def test_nothing_from_outside_becomes_part_of_a_command(self, file: Path) -> None:
        assert not [step["run"] for step in steps(file) if "${{" in step.get("run", "")]

    def test_make_targets_exist(self, file: Path) -> None:
        targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
        called = {
            name for step in steps(file) for name in re.findall(r"\bmake ([a-z-]+)", step.get("run", ""))
        }
        assert called <= targets


def test_one_version_of_every_action() -> None:
    used = {one for file in FILES for one in re.findall(r"uses: *(.*)", file.read_text())}
    assert len({one.split("@")[0] for one in used}) == len(used), sorted(used)
