"""Journals that earlier processes left behind: for which store, damaged, or taken by two processes at once.
Real SQLite stores.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tasks import paths
from tasks.records.journal import send_left_behind, store_name
from tasks.records.store import Store
from tests.conftest import REPOSITORY

# Leaves a journal of one metric behind: killed before it has sent anything.
KILLED = """
import os, signal, sys
from tasks.records.journal import Journal
journal = Journal(None, sys.argv[2], sys.argv[1], print)
journal.metrics(sys.argv[1], {"late": 1.0}, step=3)
os.kill(os.getpid(), signal.SIGKILL)
"""
# Opens the store many times, as the next processes do.
OPENS = """
import sys
from mlflow import MlflowClient
from tasks.records.journal import send_left_behind
client = MlflowClient(sys.argv[1])
for _ in range(int(sys.argv[2])):
    assert send_left_behind(client, sys.argv[1], print)
"""


@pytest.fixture
def stores(project: Path, empty_mlflow: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses of two stores outside the project's folder."""
    uris = []
    for name in ("one", "two"):
        (project / name).mkdir()
        shutil.copy(empty_mlflow, project / name / "mlflow.db")
        uris.append(f"sqlite:///{project}/{name}/mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uris[0])
    return uris


def store(uri: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    opened = Store()
    opened.send_left_behind()  # as the next command does
    return opened


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )


def leave_journal(run: str, uri: str) -> Path:
    """A journal that a killed process left; its path."""
    before = set(paths.UNSENT.glob("*.jsonl"))
    killed = run_python(KILLED, run, uri)
    assert killed.returncode < 0, killed.stderr
    (left,) = set(paths.UNSENT.glob("*.jsonl")) - before
    return left


def write_journal(name: str, *lines: Any) -> Path:
    paths.UNSENT.mkdir(exist_ok=True)
    path = paths.UNSENT / f"{name}.jsonl"
    path.write_bytes(
        b"".join((one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n" for one in lines)
    )
    return path


def late(one: Store, run: str) -> list[int]:
    return [point.step for point in one.client.get_metric_history(run, "late")]


def test_a_journal_waits_for_the_store_that_it_is_for(
    stores: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = store(stores[0], monkeypatch)
    run = first.create_run("warmup", parent=None, tags={})
    journal = leave_journal(run, stores[0])
    other = store(stores[1], monkeypatch)
    assert journal.exists(), "the other store does not know the run, which says nothing of the right one"
    for _ in range(3):
        assert send_left_behind(other.client, other.uri, print), "another store's records hold nothing up"
    said = capsys.readouterr().out
    assert said.count(str(journal)) == 1 and "one/mlflow.db" in said

    first = store(stores[0], monkeypatch)
    assert late(first, run) == [3]
    assert not journal.exists()


@pytest.mark.slow
def test_send_records_says_which_store_records_wait_for(
    stores: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(REPOSITORY / "dvc.yaml", ".")
    run = store(stores[0], monkeypatch).create_run("warmup", parent=None, tags={})
    journal = leave_journal(run, stores[0])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", stores[1])
    command = "import sys; from flows.cli import main; sys.exit(main())"
    asked = run_python(command, "send-records")
    assert asked.returncode == 2
    assert "one/mlflow.db" in asked.stderr and "Traceback" not in asked.stderr
    assert journal.exists()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", stores[0])
    asked = run_python(command, "send-records")
    assert asked.returncode == 0, asked.stderr
    assert not journal.exists()


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ("http://user:secret@host:5000/", "http://host:5000"),
        (
            "postgresql://user:secret@host/mlflow?password=secret",
            "postgresql+psycopg2://someone@HOST/mlflow",
        ),
        ("sqlite:///mlflow.db", "sqlite:///{here}/mlflow.db"),
    ],
)
def test_a_store_is_told_by_its_address_without_credentials(project: Path, one: str, same: str) -> None:
    assert store_name(one) == store_name(same.format(here=project))
    assert "secret" not in store_name(one)
    assert store_name(one) != store_name(one.replace("mlflow", "other").replace("5000", "5001"))


def test_a_project_folder_that_was_moved_keeps_its_records(
    project: Path, empty_mlflow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = project / "old", project / "new"
    old.mkdir()
    monkeypatch.chdir(old)
    shutil.copy(empty_mlflow, "mlflow.db")
    run = Store().create_run("warmup", parent=None, tags={})
    leave_journal(run, Store().uri)
    old.rename(new)
    monkeypatch.chdir(new)
    opened = Store()
    assert opened.send_left_behind()
    assert late(opened, run) == [3]


def test_a_journal_that_names_no_store_is_sent_where_its_run_is(
    stores: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = store(stores[0], monkeypatch)
    run = first.create_run("warmup", parent=None, tags={})
    journal = write_journal(f"{run}-1-1", {"run": run, "metrics": [["late", 1.0, 1, 5]]})
    store(stores[1], monkeypatch)
    assert journal.exists()
    assert str(journal) in capsys.readouterr().out
    assert late(store(stores[0], monkeypatch), run) == [5]
    assert not journal.exists()


def test_records_of_a_run_that_was_deleted_in_the_right_store_count_as_sent(
    stores: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = "0" * 32
    journal = leave_journal(gone, stores[0])
    store(stores[0], monkeypatch)
    assert not journal.exists()


DAMAGED = (
    b"",
    b'{"run": "RUN", "metr',
    b"\xff\xfe\x00",
    b"null",
    b"[]",
    b"17",
    b'"text"',
    b"[" * 100_000,
    b"1" * 10_000,
    b'{"run": "RUN"}',
    b'{"run": 5, "status": "FINISHED"}',
    b'{"run": "RUN", "metrics": 3}',
    b'{"run": "RUN", "metrics": [["late"]]}',
    b'{"run": "RUN", "metrics": [["late", "x", 1, 1]]}',
    b'{"run": "RUN", "metrics": [["late", 1.0, 1, 1e999]]}',
    b'{"run": "RUN", "metrics": [["late", 1.0, 99999999999999999999, 1]]}',
    b'{"run": "RUN", "metrics": [["late", 1%s, 1, 1]]}' % (b"0" * 400),
    b'{"run": "RUN", "metrics": [["a\\u0000b", 1.0, 1, 1]]}',
    b'{"run": "RUN", "metrics": [["late' + b"x" * 10_000 + b'", 1.0, 1, 1]]}',
    b'{"run": "RUN", "tags": [1]}',
    b'{"run": "RUN", "tags": {"a": {"b": 1}}}',
    b'{"run": "RUN", "tags": {"": "x"}}',
    b'{"run": "RUN", "status": "UNHEARD_OF", "end_time": 1}',
    b'{"run": "RUN", "status": "FINISHED"}',
    b'{"run": "RUN", "status": "FINISHED", "end_time": "now"}',
    b'{"run": "../../etc/passwd", "status": "FINISHED", "end_time": 1}',
    b'{"run": "\\u0000", "tags": {"a": "b"}}',
    b'{"store": 5}',
    b'{"store": {"a": "b"}}',
)


@pytest.mark.parametrize("first", [True, False])
def test_a_damaged_line_keeps_nothing_back(
    stores: list[str], monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    opened = store(stores[0], monkeypatch)
    header = {"store": store_name(stores[0])}
    run = opened.create_run("warmup", parent=None, tags={})
    for number, line in enumerate(DAMAGED):
        damaged = line.replace(b"RUN", run.encode())
        good = {"run": run, "metrics": [["late", 1.0, 1, number]]}
        lines = [damaged, header, good] if first else [header, damaged, good]
        journal = write_journal(f"{run}-1-{number}", *lines)
        assert send_left_behind(opened.client, opened.uri, print), line[:80]
        assert not journal.exists(), line[:80]
    assert sorted(late(opened, run)) == list(range(len(DAMAGED)))
    assert opened.status_of(run) == "RUNNING"


def test_what_is_no_journal_is_left_alone_and_said(
    stores: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = store(stores[0], monkeypatch)
    (paths.UNSENT / "folder.jsonl").mkdir(parents=True)
    run = opened.create_run("warmup", parent=None, tags={})
    leave_journal(run, stores[0])
    assert send_left_behind(opened.client, opened.uri, print)
    assert late(opened, run) == [3]
    assert "folder.jsonl" in capsys.readouterr().out


def test_a_journal_that_another_process_has_just_sent_is_not_made_again(
    stores: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = store(stores[0], monkeypatch)
    run = opened.create_run("warmup", parent=None, tags={})
    journals = [leave_journal(run, stores[0]) for _ in range(2)]
    found = type(paths.UNSENT).glob

    def listed_then_sent_by_another(folder: Path, pattern: str) -> Any:
        listed = list(found(folder, pattern))
        if pattern == "*.jsonl":
            for journal in journals:
                journal.unlink(missing_ok=True)
        return iter(listed)

    with monkeypatch.context() as patched:
        patched.setattr(type(paths.UNSENT), "glob", listed_then_sent_by_another)
        assert send_left_behind(opened.client, opened.uri, print)
    assert list(paths.UNSENT.iterdir()) == []
    assert "sent" not in capsys.readouterr().out, "another process has said so"


@pytest.mark.slow
def test_processes_that_open_a_store_at_once_send_everything_once(
    stores: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = store(stores[0], monkeypatch)
    run = opened.create_run("warmup", parent=None, tags={})
    header = {"store": store_name(stores[0])}
    for number in range(60):
        write_journal(f"{run}-{number}-1", header, {"run": run, "metrics": [["late", 1.0, 1, number]]})
    arguments = [sys.executable, "-c", OPENS, stores[0], "20"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    processes = [
        subprocess.Popen(
            arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    outputs = [process.communicate(timeout=240) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    assert sorted(late(opened, run)) == list(range(60))
    assert list(paths.UNSENT.iterdir()) == []
    assert sum(output.count("sent 1 records") for output, _ in outputs) == 60
