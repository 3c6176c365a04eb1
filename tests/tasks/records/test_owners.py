"""Runs that killed processes leave open: told by their tags, closed by the next process. Real processes,
MLflow's own SQLite store.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks import paths
from tasks.machine.processes import SECONDS_UNSEEN, Started, this_host
from tasks.records.owners import NOTES, Owner, left_open, owners
from tasks.records.parents import close_abandoned, create_parent, put_right
from tasks.records.stage_run import StageRun
from tasks.records.store import Store
from tests.conftest import REPOSITORY

# A process that has a parent and a child open, and is killed just before or after a request, or stays until
# it is killed from outside.
PROCESS = """
import os, signal, sys
from mlflow import MlflowClient
from tasks.records.parents import create_parent
from tasks.records.stage_run import StageRun
from tasks.records.store import Store

name, number, when = sys.argv[1], int(sys.argv[2]), sys.argv[3]
store = Store()
if name:
    real, calls = getattr(MlflowClient, name), []

    def killed(*arguments, **named):
        calls.append(name)
        result = real(*arguments, **named) if len(calls) < number or when == "after" else None
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(MlflowClient, name, killed)
parent = create_parent(store, "test")
run = StageRun(store, store.create_run("warmup", parent=parent, tags={}), parent)
print("open", flush=True)
sys.stdin.readline()
run.close("FINISHED", with_parent=True)
"""
# A study's process, an experiment's and its training's: what they do with a run that was there before.
REOPENS = """
import sys
from tasks.records.store import Store
Store().reopen(sys.argv[1])
print("open", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def store(project: Path, empty_mlflow: Path) -> Store:
    shutil.copy(empty_mlflow, project / "mlflow.db")
    return Store()


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    assert any(line.strip() == word for line in process.stdout), "it ended without saying so"


def statuses(store: Store) -> list[str]:
    return [run.info.status for run in store.client.search_runs([store.experiment])]


@pytest.mark.parametrize(
    ("name", "number", "when", "left"),
    [
        pytest.param("create_run", 1, "before", 0, marks=pytest.mark.slow),
        pytest.param("create_run", 1, "after", 1, marks=pytest.mark.slow),
        ("create_run", 2, "after", 2),
        ("", 0, "", 2),
    ],
)
@pytest.mark.slow
def test_what_a_process_killed_at_any_moment_left_open_is_closed_by_the_next(
    store: Store, start: Callable[..., subprocess.Popen[str]], name: str, number: int, when: str, left: int
) -> None:
    process = start(PROCESS, name, str(number), when)
    if not name:
        said(process, "open")
        close_abandoned(store)
        assert statuses(store) == ["RUNNING"] * left, "its process is alive"
        process.kill()
    assert process.wait(120) == -signal.SIGKILL
    assert statuses(store) == ["RUNNING"] * left
    assert left_open(), "it can be seen without asking MLflow that there is something to close"
    put_right()
    assert statuses(store) == ["KILLED"] * left
    assert not left_open()


@pytest.mark.slow
def test_it_needs_no_files_in_the_project(store: Store, start: Callable[..., subprocess.Popen[str]]) -> None:
    process = start(PROCESS, "", "0", "")
    said(process, "open")
    process.kill()
    process.wait()
    shutil.rmtree(paths.WORK)
    close_abandoned(store)
    assert statuses(store) == ["KILLED", "KILLED"]


@pytest.mark.slow
def test_a_process_that_ends_as_it_should_leaves_no_note(
    store: Store, start: Callable[..., subprocess.Popen[str]]
) -> None:
    process = start(PROCESS, "", "0", "")
    said(process, "open")
    assert list(NOTES.glob("*.json"))
    process.communicate("end\n", timeout=120)
    assert process.returncode == 0
    assert not list(NOTES.glob("*.json"))
    assert statuses(store) == ["FINISHED", "FINISHED"]


@pytest.mark.slow
def test_a_run_that_several_processes_work_at_is_left_to_those_that_are_alive(
    store: Store, start: Callable[..., subprocess.Popen[str]]
) -> None:
    run = store.create_run("tuning", parent=None, tags={}, process=ended())
    first, second = start(REOPENS, run), start(REOPENS, run)
    for process in (first, second):
        said(process, "open")
    first.kill()
    first.wait()
    close_abandoned(store)
    assert statuses(store) == ["RUNNING"]
    second.kill()
    second.wait()
    close_abandoned(store)
    assert statuses(store) == ["KILLED"]


def ended() -> Started:
    """A process of this machine that is gone."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return Started(process.pid, time.time() - 100)


def test_a_stage_that_lives_on_keeps_its_parent_whose_process_is_gone(store: Store) -> None:
    parent = store.create_run("pipeline", parent=None, tags={}, process=ended())
    store.create_run("warmup", parent=parent, tags={})
    gone = store.create_run("features", parent=parent, tags={}, process=ended())
    close_abandoned(store)
    assert store.status_of(parent) == "RUNNING"
    assert store.status_of(gone) == "KILLED"


NAME, *PLACE = this_host().split(" ")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (this_host(), "KILLED"),
        (" ".join(["another-machine", *PLACE]), "RUNNING"),
        (" ".join([NAME, *PLACE[:1], "1"]), "RUNNING"),  # another container of this machine
        (" ".join([NAME, "another-boot", "1"]), "KILLED"),
        (NAME, "RUNNING" if PLACE else "KILLED"),
    ],
)
def test_a_process_of_another_machine_is_left_alone_for_a_month(store: Store, host: str, status: str) -> None:
    """Its number may be anybody's here, or nobody's."""
    run = store.create_run("pipeline", parent=None, tags={}, process=replace(ended(), host=host))
    old = replace(ended(), host=host, started=time.time() - SECONDS_UNSEEN - 60)
    unheard = store.create_run("pipeline", parent=None, tags={}, process=old)
    close_abandoned(store)
    assert store.status_of(run) == status
    assert store.status_of(unheard) == "KILLED"


def test_this_process_is_not_found_under_its_number_elsewhere() -> None:
    this = Started.this()
    assert this.here() and this.alive()
    assert not replace(this, host="another-machine").here()
    assert this.host.split(" ")[0] == socket.gethostname()


def test_runs_that_name_no_process_are_not_ours(store: Store) -> None:
    by_hand = store.client.create_run(store.experiment).info.run_id
    damaged = store.client.create_run(store.experiment, tags={"ssvh.process.1-x": '{"pid": "x"}'}).info.run_id
    close_abandoned(store)
    assert [store.status_of(run) for run in (by_hand, damaged)] == ["RUNNING", "RUNNING"]
    assert owners({"ssvh.process.1-x": "[", "ssvh.process.2-x": "[]", "a": "b"}) == []


def test_what_waits_in_another_folder_may_be_the_run_s_end(store: Store, project: Path) -> None:
    elsewhere = project / "elsewhere"
    (elsewhere / paths.UNSENT).mkdir(parents=True)
    journal = elsewhere / paths.UNSENT / "x.jsonl"
    journal.write_text("")
    tag = Owner(ended(), str(elsewhere)).tag()
    run = store.client.create_run(store.experiment, tags=tag).info.run_id
    close_abandoned(store)
    assert store.status_of(run) == "RUNNING"
    journal.unlink()
    close_abandoned(store)
    assert store.status_of(run) == "KILLED"


def test_a_damaged_note_is_looked_after_and_goes(store: Store) -> None:
    NOTES.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(("", "{", "[]", '{"pid": 1}', '{"pid": 1, "started": 1.0, "more": 1}')):
        (NOTES / f"{number}.json").write_text(text)
    put_right()
    assert not list(NOTES.glob("*.json"))


def test_a_note_that_another_process_has_just_removed_is_no_error(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create_run("pipeline", parent=None, tags={}, process=ended())
    NOTES.mkdir(parents=True, exist_ok=True)
    note = NOTES / "1.json"
    note.write_text(json.dumps({"pid": ended().pid, "started": 1.0, "host": this_host()}))
    found = type(NOTES).glob

    def listed_then_removed(folder: Path, pattern: str) -> Any:
        listed = list(found(folder, pattern))
        note.unlink(missing_ok=True)
        return iter(listed)

    with monkeypatch.context() as patched:
        patched.setattr(type(NOTES), "glob", listed_then_removed)
        close_abandoned(store)
    assert statuses(store) == ["KILLED"]


@pytest.mark.slow
def test_processes_that_close_at_once_do_not_disturb_each_other(
    store: Store, start: Callable[..., subprocess.Popen[str]]
) -> None:
    for _ in range(20):
        store.create_run("pipeline", parent=None, tags={}, process=ended())
    code = "from tasks.records.parents import close_abandoned\nfrom tasks.records.store import Store\nclose_abandoned(Store())"
    processes = [start(code) for _ in range(3)]
    assert [process.wait(240) for process in processes] == [0, 0, 0]
    assert statuses(store) == ["KILLED"] * 20


def test_the_end_that_a_flow_tells_late_is_the_one_that_counts(store: Store) -> None:
    """Where MLflow was away at the end of a run, another process may have taken the run for killed before it
    hears of that end.
    """
    parent = create_parent(store, "test")
    store.set_status(parent, "KILLED")
    StageRun(store, parent, parent).close("FINISHED", final=True)
    assert store.status_of(parent) == "FINISHED"
    StageRun(store, parent, parent).close("FAILED")
    assert store.status_of(parent) == "FINISHED", "what others say late does not reopen the question"
