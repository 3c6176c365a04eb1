"""The MLflow record, in a real SQLite store."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ssvh_model.errors import UserError
from tasks.params.keys import flatten
from tasks.records.parents import create_parent, find_parent, stage_tags
from tasks.records.stage_run import StageRun
from tasks.records.store import PARENT_VARIABLE, Store
from tasks.records.system_metrics import watch_system


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with its tables made, which takes seconds; tests copy it."""
    folder = tmp_path_factory.mktemp("mlflow")
    before = Path.cwd()
    os.chdir(folder)
    try:
        Store()
    finally:
        os.chdir(before)
    return folder / "mlflow.db"


@pytest.fixture
def store(project: Path, template: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    (project / "mlflow.db").write_bytes(template.read_bytes())
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "test")
    return Store()


def child(store: Store, parent: str, name: str = "warmup") -> StageRun:
    return StageRun(store, store.create_run(name, parent=parent, tags={"ssvh.stage": name}), parent)


def test_flatten() -> None:
    assert flatten({"a": {"b": 1, "c": {"d": [1, 2]}}, "e": None}) == {"a.b": 1, "a.c.d": [1, 2], "e": None}


def test_the_store_is_in_the_project_and_artifacts_too(store: Store, project: Path) -> None:
    assert store.uri == f"sqlite:///{project}/mlflow.db"
    location = store.client.get_experiment(store.experiment).artifact_location
    assert location == (project / "mlartifacts").as_uri()


def test_a_stage_s_record(store: Store, project: Path) -> None:
    parent = create_parent(store, "test")
    run = child(store, parent)
    run.log_parameters({f"p{number}": number for number in range(150)})
    for epoch in range(1, 4):
        run.log_metrics({"loss": 1 / epoch, "gmap": 0.1}, step=epoch)
    run.log_input(
        "features", source=Path("data/features"), digest="f" * 40, context="input", profile={"videos": 3}
    )
    (project / "picture.png").write_bytes(b"png")
    run.log_artifact(project / "picture.png", "pictures")
    run.close("FINISHED")

    assert not list(Path(".unsent").glob("*")), "nothing waits where everything has arrived"
    stored = store.client.get_run(run.id)
    assert stored.info.status == "FINISHED"
    assert stored.data.params["p149"] == "149"
    assert [(m.step, m.value) for m in store.client.get_metric_history(run.id, "loss")] == [
        (1, 1),
        (2, 0.5),
        (3, 1 / 3),
    ]
    assert stored.data.tags["mlflow.parentRunId"] == parent
    assert stored.inputs.dataset_inputs[0].dataset.name == "features"
    assert [file.path for file in store.client.list_artifacts(run.id, "pictures")] == ["pictures/picture.png"]
    assert [one.info.run_id for one in store.children(parent)] == [run.id]


def test_a_stage_shorter_than_one_sampling_interval_has_its_system_metrics(store: Store) -> None:
    run = child(store, create_parent(store, "test"))
    with watch_system(run):
        pass
    run.close("FINISHED")
    assert "system/cpu_utilization_percentage" in store.client.get_run(run.id).data.metrics


def test_mlflow_s_own_run_variable_does_not_matter(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """mlflow#15713: in a child process MLFLOW_RUN_ID beats the parent that a caller names."""
    parent = create_parent(store, "test")
    monkeypatch.setenv("MLFLOW_RUN_ID", parent)
    run = child(store, parent)
    assert run.id != parent
    assert store.client.get_run(run.id).data.tags["mlflow.parentRunId"] == parent


def test_no_store_at_all_is_one_line(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////dev/null/mlflow.db")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UserError, match="can't be written") as caught:
        Store()
    assert "\n" not in str(caught.value)


def test_the_parent_that_was_handed_over_is_taken(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = create_parent(store, "flow")
    monkeypatch.setenv(PARENT_VARIABLE, parent)
    assert find_parent(store) == parent
    monkeypatch.setenv(PARENT_VARIABLE, "0" * 32)
    assert find_parent(store) != "0" * 32


def test_stages_of_one_process_share_a_parent(store: Store) -> None:
    first = find_parent(store)
    store.create_run("warmup", parent=first, tags={})
    assert find_parent(store) == first


def test_a_parent_can_be_opened_again_for_the_next_stage(store: Store) -> None:
    parent = create_parent(store, "test")
    for status in ("FINISHED", "RUNNING", "FAILED"):
        store.set_status(parent, status)
        assert store.status_of(parent) == status


def test_the_parent_tells_what_ran_and_what_was_reused(store: Store) -> None:
    parent = create_parent(store, "test")
    own = child(store, parent)
    Path("runs").mkdir()
    Path("runs/warmup.json").write_text(json.dumps({"run_id": own.id, "parent_run_id": parent}))
    Path("runs/p2set-1.json").write_text(json.dumps({"run_id": "e" * 32, "parent_run_id": "f" * 32}))
    tags = stage_tags(parent, ["warmup", "p2set@1", "p2set@2"])
    assert tags["ssvh.stage.warmup"] == f"ran {own.id}"
    assert tags["ssvh.stage.p2set-1"] == f"reused {'e' * 32}"
    assert "ssvh.stage.p2set-2" not in tags
