"""`.ci/audit`: which findings are let pass, why and until when."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

AUDIT = REPOSITORY / ".ci/audit"
ENTRY = """
[[exception]]
id = "{id}"
reason = "{reason}"
until = {until}
"""


def entry(id: str = "PYSEC-1", reason: str = "never called", days: int = 10) -> str:
    return ENTRY.format(id=id, reason=reason, until=in_days(days))


def in_days(days: int) -> datetime.date:
    """A date counted from now: a run of the tests may begin before midnight and end after it."""
    return datetime.date.today() + datetime.timedelta(days)


@pytest.fixture
def pip_audit(tmp_path: Path) -> Path:
    """Stands for pip-audit, which asks the network: says what it was asked, and finds something."""
    program = tmp_path / "pip-audit"
    program.write_text('#!/bin/sh\necho "$@"\nexit 1\n')
    program.chmod(0o755)
    return program


def audit(pip_audit: Path, exceptions: str) -> tuple[int, str]:
    file = pip_audit.parent / "exceptions.toml"
    file.write_text(exceptions)
    command = [sys.executable, str(AUDIT), str(pip_audit), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


def test_exceptions_with_a_reason_and_an_end_are_let_pass(pip_audit: Path) -> None:
    status, said = audit(pip_audit, entry() + entry("GHSA-2", days=0))
    assert status == 1  # pip-audit's own
    assert said.endswith("requirements.lock --ignore-vuln PYSEC-1 --ignore-vuln GHSA-2\n")
    assert "--strict" in said.split()


@pytest.mark.parametrize(
    ("exceptions", "fault"),
    [
        (entry(days=-1), "PYSEC-1: it was let pass until"),
        (entry(reason=" "), "PYSEC-1: its reason is empty"),
        (entry(days=400), "more than 184 days away"),
        (entry().replace("until", "til"), "allowed are id and reason, texts, and until, a date"),
        (entry() + '[[exception]]\nid = "GHSA-2"\n', "GHSA-2: has id; allowed are"),
        (entry().replace(str(in_days(10)), '"2099-01-01"'), "and until, a date"),
    ],
)
def test_others_fail_before_anything_is_asked(pip_audit: Path, exceptions: str, fault: str) -> None:
    status, said = audit(pip_audit, exceptions)
    assert status == 1 and fault in said
    assert "--strict" not in said and "Traceback" not in said


def test_those_of_the_project_are_in_order(pip_audit: Path) -> None:
    done = subprocess.run([AUDIT, pip_audit], capture_output=True, text=True, timeout=120, check=False)
    assert "--strict" in done.stdout, done.stderr
    assert os.access(AUDIT, os.X_OK)
