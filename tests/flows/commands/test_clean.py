"""`ssvh clean` and `make clean`: work in progress goes, but never that of a process that is alive."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.flows.conftest import ROOT, Project

# Each prints a line when it has what it needs, then goes on when its input ends.
USERS = {
    "shard": """
import sys
from pathlib import Path
from ssvh_model.locks import hold_lock
with hold_lock(Path(".work/features/key/features/locks/000001")):
    print("ready", flush=True)
    sys.stdin.read()
""",
    "training": """
import sys
from pathlib import Path
from ssvh_model.locks import hold_lock
with hold_lock(Path(".work/experiments/key/lock")):
    print("ready", flush=True)
    sys.stdin.read()
""",
    "between locks": """
import sys
from tasks.pipeline.work import use_work
use_work()
print("ready", flush=True)
sys.stdin.read()
""",
}
# Opens the lock file as `only_one` does, and takes the lock later.
LATE = """
import fcntl, sys
file = open(".work/first.lock", "a+")
print("open", flush=True)
sys.stdin.readline()
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.readline()
"""
ONLY_ONE = """
from tasks.pipeline.work import only_one
with only_one("first", lambda line: print(line, flush=True)):
    print("mine", flush=True)
"""


@contextmanager
def running(project: Project, code: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=project.folder,
        env=project.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def files(project: Project) -> set[str]:
    work = project.folder / ".work"
    return {path.relative_to(work).as_posix() for path in work.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_the_work_of_a_stage_that_runs_stays(stub_project: Project, prefect_api: str) -> None:
    stub_project.behave("first", "hang with children")
    stage = stub_project.start("dvc", "repro", "first", PREFECT_API_URL=prefect_api)
    try:
        while not (stub_project.folder / "hanging").exists():
            assert stage.poll() is None, stage.communicate()
            time.sleep(0.1)
        before = files(stub_project)
        status, output = stub_project.run("flows.cli", "clean")
        assert status == 2, output
        assert output.startswith("error: .work: is used by process ") and output.count("\n") == 1
        named = int(output.split()[6])
        assert "tasks.stage first" in output or "stub.py first" in output
        os.kill(named, 0)  # it is alive
        assert files(stub_project) == before
    finally:
        os.kill(int((stub_project.folder / ".work/first.lock").read_text()), signal.SIGINT)
        stage.communicate(timeout=200)

    half = {name for name in files(stub_project) if name.endswith("/half")}
    assert half, "a killed stage's work is kept"
    status, output = stub_project.run("flows.cli", "clean")
    assert status == 0 and output == "removed what was in .work/\n", output
    left = files(stub_project)
    assert not half & left and "first.lock" in left


@pytest.mark.parametrize("user", sorted(USERS))
def test_other_users_of_the_work_are_named(stub_project: Project, user: str) -> None:
    with running(stub_project, USERS[user]) as process:
        assert line(process) == "ready"
        (stub_project.folder / ".work/watch").mkdir()
        (stub_project.folder / ".work/watch/seen.json").write_text("{}")
        status, output = stub_project.run("flows.cli", "clean")
        assert status == 2 and f"is used by process {process.pid} (" in output, output
        assert output.count("\n") == 1
        assert "watch/seen.json" in files(stub_project)
    status, output = stub_project.run("flows.cli", "clean")
    assert status == 0, output
    assert "watch/seen.json" not in files(stub_project)


def test_who_has_opened_a_lock_before_still_keeps_others_out_afterwards(stub_project: Project) -> None:
    (stub_project.folder / ".work").mkdir()
    with running(stub_project, LATE) as late:
        assert line(late) == "open"
        status, output = stub_project.run("flows.cli", "clean")
        assert status == 0, output
        tell(late)
        assert line(late) == "held"
        with running(stub_project, ONLY_ONE) as other:
            assert "is being run by process" in line(other)
            tell(late)
            assert line(other) == "mine"


def test_nothing_to_clean_and_records_stay(stub_project: Project) -> None:
    status, output = stub_project.run("flows.cli", "clean")
    assert status == 0, output
    assert not (stub_project.folder / ".work").exists()
    note = stub_project.folder / ".work/open-runs/1-2.00.json"
    note.parent.mkdir(parents=True)
    note.write_text("{}")
    status, output = stub_project.run("flows.cli", "clean")
    assert status == 0, output
    assert note.exists(), (
        "MLflow's run of a killed pipeline is closed by the next one, which finds it by this"
    )


def test_make_clean_refuses_as_well(stub_project: Project) -> None:
    folder = stub_project.folder
    shutil.copy(ROOT / "Makefile", folder)
    commands = folder / ".venv/bin"
    commands.mkdir(parents=True)
    (commands / "ssvh").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m flows.cli "$@"\n')
    (commands / "ssvh").chmod(0o755)
    work = folder / ".work/warmup/key/checkpoint"
    work.parent.mkdir(parents=True)
    work.write_text("half")
    (folder / ".mypy_cache").mkdir()

    def make() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", "clean"], cwd=folder, env=stub_project.environment, capture_output=True, text=True
        )

    with running(stub_project, USERS["between locks"]) as process:
        assert line(process) == "ready"
        made = make()
        assert made.returncode != 0 and f"is used by process {process.pid} (" in made.stderr, made
        assert work.exists()
    made = make()
    assert made.returncode == 0, made
    assert not work.exists() and not Path(folder / ".mypy_cache").exists()
    shutil.rmtree(folder / ".venv")
    assert make().returncode == 0
    assert not (folder / ".work").exists(), "without an environment nothing of ours can run"
