"""The MLflow record of an experiment: one parent run, and a child a training. Both are found again after a kill, and go on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssvh_model.files import atomic_path
from tasks.experiments.one_training import Training
from tasks.records.parents import close_abandoned
from tasks.records.store import StageRun, Store, git_commit

PARENT = "mlflow.json"


def open_parent(store: Store, folder: Path, name: str, parameters: Mapping[str, Any], flow_run: str) -> str:
    """The parent run of the experiment in `folder`: the one that was started with the same settings, or a new one.

    Args:
        store: MLflow.
        folder: of the experiment.
        name: of the run, such as "ablation".
        parameters: flat, logged once.
        flow_run: id of the Prefect flow run; "" for none.
    """
    close_abandoned(store)
    run = _noted(store, folder / PARENT)
    if run is None:
        run = store.create_run(name, parent=None, tags={"ssvh.git_commit": git_commit()})
        store.log_parameters(run, parameters)
        _note(folder / PARENT, run)
    store.reopen(run)
    store.tag(run, {"ssvh.prefect_flow_run": flow_run})
    return run


def open_child(store: Store, folder: Path, parent: str, training: Training) -> StageRun:
    """The child run of a training: the one that a killed process began, or a new one."""
    note = _child_note(folder, training)
    run = _noted(store, note)
    if run is None:
        tags = {
            "ssvh.variant": training.name,
            "ssvh.seed": str(training.params.seed),
            "ssvh.training": training.key,
            "ssvh.git_commit": git_commit(),
        }
        run = store.create_run(training.label, parent=parent, tags=tags)
        store.log_parameters(run, training.parameters)
        _note(note, run)
    store.reopen(run)
    return StageRun(store, run, parent)


def logged_epochs(run: StageRun) -> set[int]:
    """Epochs whose figures a child run holds already."""
    return {int(point.step) for point in run.store.client.get_metric_history(run.id, "loss")}


def is_finished(store: Store, folder: Path, training: Training) -> bool:
    """True if a training's child run has come to its end."""
    run = _noted(store, _child_note(folder, training))
    return run is not None and store.status_of(run) == "FINISHED"


def _child_note(folder: Path, training: Training) -> Path:
    return folder / "children" / f"{training.key}.json"


def _noted(store: Store, note: Path) -> str | None:
    if not note.is_file():
        return None
    run = str(json.loads(note.read_text())["run_id"])
    return run if store.status_of(run) is not None else None


def _note(note: Path, run: str) -> None:
    with atomic_path(note) as temporary:
        temporary.write_text(json.dumps({"run_id": run}))
