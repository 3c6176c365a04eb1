"""Databases whose making was killed: real ones of MLflow and Optuna, killed after chosen statements."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from ssvh_model.errors import UserError
from tasks.records.databases import half_made_copies
from tasks.records.store import Store
from tasks.registry.versions import Registry
from tests.killed import ROOT, run_until

pytestmark = [pytest.mark.slow, pytest.mark.nightly]

STORE = "from tasks.records.store import Store; Store()"
BY_MLFLOW = (
    "from mlflow import MlflowClient; MlflowClient('sqlite:///mlflow.db').search_experiments(); print('made')"
)
STORAGE = "from tasks.tuning.storage import open_storage; open_storage(60)"
# MLflow creates its first tables, then migrates them. The last statement adds the default experiment.
MOMENTS_OF_MLFLOW = (
    "count == 1",
    "count == 20",
    "count == 200",
    "\"'Default'\" in statement",
)


def tables(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as database:
        return [
            name
            for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        ]


def store_works(project: Path) -> None:
    store = Store()
    run = store.create_run("after the kill", parent=None, tags={})
    assert store.status_of(run) == "RUNNING"
    left = sorted(one.name for one in project.glob("mlflow.db?*"))
    assert [one for one in left if "half-made" not in one] == ["mlflow.db.making"]


@pytest.mark.timeout(600)
def test_a_kill_while_mlflow_s_database_is_made_leaves_none(project: Path) -> None:
    for moment in MOMENTS_OF_MLFLOW:
        run_until(moment, STORE, project)
        assert not (project / "mlflow.db").exists(), moment
    store_works(project)
    assert not half_made_copies(project / "mlflow.db")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("moment", ["count == 20", "count == 400"])
def test_a_half_made_database_of_mlflow_is_put_aside(
    project: Path, capsys: pytest.CaptureFixture[str], moment: str
) -> None:
    run_until(moment, BY_MLFLOW, project)
    half_made = tables(project / "mlflow.db")
    assert half_made
    store_works(project)
    (copy,) = half_made_copies(project / "mlflow.db")
    assert tables(copy) == half_made
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "half made" in said and copy.name in said


@pytest.mark.timeout(600)
def test_promotion_too_puts_it_aside(project: Path) -> None:
    run_until("count == 20", BY_MLFLOW, project)
    with pytest.raises(UserError, match="no model 'hasher' is registered"):
        Registry("hasher").champion()


def test_an_empty_file_is_no_database_yet(project: Path) -> None:
    (project / "mlflow.db").touch()
    store_works(project)
    assert not half_made_copies(project / "mlflow.db")


def test_a_database_with_records_is_never_moved(project: Path) -> None:
    """Tables are missing, as after an upgrade that was killed: nobody knows how to go on, so it says what is
    wrong and stays.
    """
    Store()
    with closing(sqlite3.connect(project / "mlflow.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = 'of a later version'")
        database.execute("DROP TABLE logged_model_tags")
        database.commit()
    before = (project / "mlflow.db").read_bytes()
    program = [sys.executable, "-c", STORE]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for _ in range(2):
        done = subprocess.run(program, cwd=project, env=environment, capture_output=True, text=True)
        assert "mlflow.db can't be written" in done.stderr.splitlines()[-1]
    assert (project / "mlflow.db").read_bytes() == before
    assert not half_made_copies(project / "mlflow.db")


def test_what_is_no_database_is_left_alone(project: Path) -> None:
    (project / "mlflow.db").write_text("a person's notes " * 100)
    with pytest.raises(UserError, match="not a database"):
        Store()
    assert (project / "mlflow.db").read_text() == "a person's notes " * 100


@pytest.mark.timeout(600)
def test_several_processes_make_one_database(project: Path) -> None:
    program = STORE + "; print(Store().create_run('one', parent=None, tags={}))"
    command = [sys.executable, "-c", program]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run_until("count == 200", STORE, project)  # and what a kill leaves is in their way
    several = [
        subprocess.Popen(command, cwd=project, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    runs = [process.communicate(timeout=300)[0].strip() for process in several]
    assert [process.returncode for process in several] == [0, 0, 0]
    store = Store()
    assert {store.status_of(run) for run in runs} == {"RUNNING"}
    assert not half_made_copies(project / "mlflow.db")


@pytest.mark.timeout(600)
def test_a_database_that_another_program_makes_is_waited_for(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by_hand = subprocess.Popen(
        [sys.executable, "-c", BY_MLFLOW], cwd=project, stdout=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 120
    while not (project / "mlflow.db").exists() or not (project / "mlflow.db").stat().st_size:
        assert by_hand.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    store_works(project)
    assert by_hand.communicate(timeout=120)[0].strip() == "made"
    assert not half_made_copies(project / "mlflow.db")
    assert "waiting for it" in capsys.readouterr().out


@pytest.mark.timeout(600)
def test_a_kill_while_optuna_s_database_is_made_does_no_harm(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Optuna goes on by itself where a killed process stopped."""
    from tasks.tuning.storage import open_storage

    monkeypatch.delenv("OPTUNA_STORAGE", raising=False)
    for moment in ("count == 1", "count == 2", "count == 9", "count == 15", "count == 16", "count == 17"):
        (project / "optuna.db").unlink(missing_ok=True)
        run_until(moment, STORAGE, project)
        open_storage(60).get_all_studies()
