"""A flow's connection to MLflow, lent to a stage's process: the same record, and no MLflow there."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ssvh_model.errors import UserError
from tasks.machine.errors import ServiceAway
from tasks.pipeline.flow_folder import VARIABLE, FlowFolder
from tasks.records.lent_store import SOCKET, LentStore, lend
from tasks.records.owners import PROCESS
from tasks.records.parents import create_parent
from tasks.records.stage_run import StageRun
from tasks.records.store import Store
from tasks.records.system_metrics import watch_system

# What a stage tells, and what its process has imported by then.
STAGE = """
import os, signal, sys
from pathlib import Path
from tasks.records.lent_store import LentStore
from tasks.records.stage_run import StageRun
from tasks.records.system_metrics import watch_system
parent, end = sys.argv[1:]
store = LentStore.given()
run = StageRun(store, store.create_run("warmup", parent=parent, tags={"ssvh.stage": "warmup"}), parent)
print(run.id, flush=True)
run.log_parameters({f"p{number}": number for number in range(150)})
run.log_input("features", source=Path("data"), digest="f" * 40, context="input", profile={"videos": 3})
with watch_system(run):
    for epoch in (1, 2):
        run.log_metrics({"loss": 1 / epoch, "gap": float("nan")}, step=epoch)
    run.tag_both(checks="none")
    run.log_artifact(Path("picture.png"), "pictures")
    run.log_artifact(Path("figures"))
if end == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
assert run.close("FINISHED", final=True, wait=200)
assert store.status_of(run.id) == "FINISHED" and store.status_of("0" * 32) is None
assert not {"mlflow", "sqlalchemy", "prefect"} & set(sys.modules)
"""


@pytest.fixture
def store(project: Path, empty_mlflow: Path) -> Store:
    shutil.copy(empty_mlflow, project / "mlflow.db")
    (project / "picture.png").write_bytes(b"png")
    (project / "figures").mkdir()
    (project / "figures/table.json").write_text("{}")
    return Store()


@pytest.fixture
def folder(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlowFolder]:
    folder = FlowFolder(tmp_path_factory.mktemp("flow"))
    with lend(store, folder):
        yield folder


def stage(folder: FlowFolder, parent: str, end: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", STAGE, parent, end],
        env={**os.environ, VARIABLE: str(folder.path)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_stage_records_as_with_a_store_of_its_own_and_imports_no_mlflow(
    store: Store, folder: FlowFolder
) -> None:
    parent = create_parent(store, "test")
    ended = stage(folder, parent, "well")
    assert ended.returncode == 0, ended.stderr
    run = ended.stdout.strip()
    stored = store.client.get_run(run)
    assert stored.info.status == "FINISHED"
    assert stored.data.params == {f"p{number}": str(number) for number in range(150)}
    assert [(m.step, m.value) for m in store.client.get_metric_history(run, "loss")] == [(1, 1), (2, 0.5)]
    assert "system/cpu_utilization_percentage" in stored.data.metrics
    assert stored.data.tags["mlflow.parentRunId"] == parent and stored.data.tags["ssvh.stage"] == "warmup"
    assert store.client.get_run(parent).data.tags["checks"] == "none"
    (data_set,) = stored.inputs.dataset_inputs
    assert (data_set.dataset.name, data_set.dataset.digest, data_set.tags[0].value) == (
        "features",
        "f" * 36,
        "input",
    )
    artifacts = {file.path for file in store.client.list_artifacts(run)}
    assert artifacts == {"pictures", "table.json"}
    assert [file.path for file in store.client.list_artifacts(run, "pictures")] == ["pictures/picture.png"]
    assert not list(Path(".unsent").glob("*")), "nothing waits where everything has arrived"


def test_the_run_lives_with_the_stage_s_process_and_not_with_the_flow_s(
    store: Store, folder: FlowFolder
) -> None:
    parent = create_parent(store, "test")
    ended = stage(folder, parent, "killed")
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    run = ended.stdout.strip()
    tags = store.client.get_run(run).data.tags
    owner = [json.loads(value)["pid"] for name, value in tags.items() if name.startswith(f"{PROCESS}.")]
    assert owner and os.getpid() not in owner
    assert store.status_of(run) == "RUNNING"
    create_parent(store, "test")  # as the next flow does
    assert store.status_of(run) == "KILLED" and store.status_of(parent) == "RUNNING"
    assert {m.step for m in store.client.get_metric_history(run, "loss")} == {1, 2}, "what it told is sent"


def test_errors_reach_the_stage_as_they_are(
    store: Store, folder: FlowFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(folder.path))
    lent = LentStore.given()
    assert lent is not None and (lent.uri, lent.experiment) == (store.uri, store.experiment)
    with pytest.raises(ServiceAway, match=r"^MLflow at sqlite.* can't be written: Run with id=0+ not found"):
        lent.set_status("0" * 32, "FINISHED")
    with pytest.raises(RuntimeError, match="client is not lent"):
        lent._ask("client")
    assert lent.client.get_experiment(lent.experiment).name == "autossvh"


def test_a_flow_that_is_gone_is_a_service_that_is_away(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = FlowFolder(tmp_path)
    monkeypatch.setenv(VARIABLE, str(folder.path))
    parent = create_parent(store, "test")
    with lend(store, folder):
        lent = LentStore.given()
        assert lent is not None
        run = StageRun(lent, lent.create_run("warmup", parent=parent, tags={}), parent)
    assert not (folder.path / SOCKET).exists() and LentStore.given() is None
    with pytest.raises(ServiceAway, match="the flow that has started this stage takes no records any more"):
        lent.log_parameters(run.id, {"a": 1})
    with watch_system(run):
        run.log_metrics({"loss": 0.5}, step=1)
    assert not run.close("FINISHED", wait=0)
    assert "is still away" in capsys.readouterr().out and list(Path(".unsent").glob("*.jsonl"))
    assert store.send_left_behind()
    assert store.client.get_run(run.id).data.metrics["loss"] == 0.5


def test_a_folder_of_which_the_name_is_too_long_lends_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = FlowFolder(tmp_path / ("long" * 30))
    folder.path.mkdir()
    monkeypatch.setenv(VARIABLE, str(folder.path))
    with lend(store, folder):
        assert LentStore.given() is None


def test_bad_input_is_bad_input_there_too(
    store: Store, folder: FlowFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(folder.path))
    monkeypatch.setattr(store, "tag", lambda **_: (_ for _ in ()).throw(UserError("bad input")))
    lent = LentStore.given()
    assert lent is not None
    with pytest.raises(UserError, match=r"^bad input$"):
        lent.tag("a", {})
