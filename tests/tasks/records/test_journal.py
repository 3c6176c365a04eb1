"""Records that outlive an MLflow server: a real one, killed and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks.records.journal import send_left_behind
from tasks.records.stage_run import StageRun
from tasks.records.store import Store
from tests.services import Service, mlflow_service

KILLED = """
import os, signal, sys
from tasks.records.stage_run import StageRun
from tasks.records.store import Store
run = StageRun(Store(), sys.argv[1], sys.argv[1])
for step in range(5):
    run.log_metrics({"late": step}, step=step)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, str]]:
    service, address = mlflow_service(tmp_path_factory.mktemp("mlflow-server"))
    yield service.start(), address
    service.stop()


@pytest.fixture
def store(server: tuple[Service, str], project: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    _, address = server
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    return Store()


def steps(store: Store, run: str, name: str) -> list[int]:
    return sorted(metric.step for metric in store.client.get_metric_history(run, name))


@pytest.mark.slow
def test_work_goes_on_while_mlflow_is_away_and_nothing_is_missing_afterwards(
    store: Store,
    server: tuple[Service, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tasks.records.journal.SECONDS_BETWEEN_WRITES", 0.2)
    service, _ = server
    parent = store.create_run("pipeline", parent=None, tags={})
    run, patient = (
        StageRun(store, store.create_run(name, parent=parent, tags={}), parent)
        for name in ("warmup", "p2set@1")
    )
    run.log_metrics({"loss": 1.0}, step=0)
    service.kill()
    began = time.monotonic()
    for step in range(1, 1500):  # more than one request takes
        run.log_metrics({"loss": 1.0}, step=step)
    run.tag_both(checks="none")
    # With one try to reach the server each, or a write to it, they would take many minutes.
    assert time.monotonic() - began < 100, "the work waits for nobody"
    assert not run.close("FINISHED", wait=1, with_parent=True)
    said = capsys.readouterr().out
    assert "takes nothing: no answer; the work goes on" in said
    assert "ssvh send-records" in said
    assert list(Path(".unsent").glob(f"{run.id}-*.jsonl"))

    # A server that comes back in time gets everything at the end, without any help.
    patient.log_metrics({"loss": 1.0}, step=1)
    with ThreadPoolExecutor() as pool:
        closing = pool.submit(patient.close, "FINISHED", wait=120)
        service.start()
        assert closing.result()
    assert steps(store, patient.id, "loss") == [1]

    assert send_left_behind(store.client, store.uri, print)
    assert steps(store, run.id, "loss") == list(range(1500))
    assert [store.client.get_run(one).data.tags["checks"] for one in (run.id, parent)] == ["none", "none"]
    assert [store.status_of(one) for one in (run.id, parent)] == ["FINISHED", "FINISHED"]
    assert not list(Path(".unsent").glob("*"))


@pytest.mark.slow
def test_what_a_killed_process_could_not_send_is_sent_by_the_next(store: Store, project: Path) -> None:
    run = store.create_run("warmup", parent=None, tags={})
    root = Path(__file__).resolve().parents[3]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, run], env={**os.environ, "PYTHONPATH": str(root)}, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert steps(store, run, "late") == []

    # The same run goes on in another process; what was left behind goes with it.
    store.set_status(run, "RUNNING")
    resumed = StageRun(store, run, run)
    assert send_left_behind(store.client, store.uri, print)
    resumed.log_metrics({"late": 5}, step=5)
    assert send_left_behind(store.client, store.uri, print), "the journal of a live process is left alone"
    assert resumed.close("FINISHED", wait=30)
    assert steps(store, run, "late") == [0, 1, 2, 3, 4, 5]


@pytest.mark.slow
def test_a_record_that_mlflow_refuses_for_good_is_said_and_keeps_nothing_back(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = store.create_run("gone", parent=None, tags={})
    run = StageRun(store, gone, gone)
    run.log_metrics({"loss": 1.0})
    store.client.delete_run(gone)
    assert run.close("FINISHED", wait=5)
    assert "refuses" in capsys.readouterr().out
    assert not list(Path(".unsent").glob("*"))
