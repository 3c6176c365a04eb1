"""What a command has started ends with it, and what is left is found by whoever comes next."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest

from tasks.machine import process_tree
from tasks.machine.process_tree import VARIABLE, Root, end_orphans, kill_with_variable, others_at_work

REPOSITORY = Path(__file__).resolve().parents[3]
SECONDS = 120
# A root and what it starts, which says its number and then works until it is told to end.
ROOT = """
import subprocess, sys
from tasks.machine.process_tree import name_root
assert name_root()
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], start_new_session=True, stdout=subprocess.PIPE, text=True)
print(child.stdout.readline(), end="", flush=True)
child.wait()
"""
ENDS_WITH_IT = """
import os, time
from tasks.machine.process_tree import end_with_root
end_with_root()
print(os.getpid(), flush=True)
time.sleep(600)
"""
STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(os.getpid(), flush=True)
time.sleep(600)
"""


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[object]:
    """Start a root whose child runs a program; both end with the test."""
    started: list[psutil.Process] = []

    def start(child: str) -> tuple[subprocess.Popen[str], psutil.Process]:
        environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
        root = subprocess.Popen(
            [sys.executable, "-c", ROOT, child],
            cwd=tmp_path,
            env={**environment, "PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert root.stdout is not None
        found = psutil.Process(int(root.stdout.readline()))
        started.extend([psutil.Process(root.pid), found])
        return root, found

    yield start
    for process in started:
        if process.is_running():
            process.kill()


def kill(root: subprocess.Popen[str]) -> None:
    root.kill()
    root.wait()


def test_what_is_started_ends_when_only_the_root_is_killed(begin) -> None:  # type: ignore[no-untyped-def]
    root, child = begin(ENDS_WITH_IT)
    kill(root)
    psutil.wait_procs([child], timeout=SECONDS)
    assert not child.is_running()


def test_the_next_command_ends_what_a_killed_one_has_left_and_nothing_else(
    begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(process_tree, "SECONDS_TO_CLOSE_RECORDS", 1.0)
    killed, orphan = begin(STUBBORN)
    _, of_a_living_command = begin(STUBBORN)
    kill(killed)
    said: list[str] = []

    elsewhere = tmp_path / "another project"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    end_orphans(said.append)
    assert orphan.is_running() and not said and not others_at_work()

    monkeypatch.chdir(tmp_path)
    end_orphans(said.append)
    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE
    (line,) = said
    assert f"process {killed.pid}" in line and "1 process" in line
    assert of_a_living_command.is_running() and others_at_work()


def test_a_root_in_another_container_counts_as_alive() -> None:
    this = Root.this().process
    gone = replace(this, started=this.started - 100)
    assert not gone.alive()
    assert replace(gone, host="another").alive()


@pytest.mark.parametrize("text", [None, "", "17", "{}", '{"pid": 1}', '{"pid": 1, "other": 2}'])
def test_a_variable_that_nobody_here_wrote_names_no_root(text: str | None) -> None:
    assert Root.read(text) is None
    assert Root.read(json.dumps(asdict(Root.this()))) == Root.this()


def test_only_processes_with_the_very_value_are_killed() -> None:
    def start(value: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(600)", "phase-1"],
            env={**os.environ, "SSVH_TEST": value},
        )

    meant, other = start("phase-1"), start("phase-10")
    try:
        kill_with_variable("SSVH_TEST", "phase-1")
        assert meant.poll() is not None
        assert other.poll() is None
    finally:
        for process in (meant, other):
            process.kill()
            process.wait()
