"""The MLflow record of an experiment: one parent run, and a child a training. Both are found again after a
kill, and go on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssvh_model.files import atomic_path
from tasks.experiments.one_training import OneTraining
from tasks.records.parents import close_abandoned
from tasks.records.stage_run import StageRun
from tasks.records.store import Store
from tasks.records.tags import FLOW_RUN_TAG, SEED_TAG, TRAINING_TAG, VARIANT_TAG

PARENT = "mlflow.json"


def open_parent(store: Store, folder: Path, name: str, parameters: Mapping[str, Any], flow_run: str) -> str:
    """The parent run of the experiment in `folder`: the one that was started with the same settings, or a new
    one.

    Args:
        store: MLflow.
        folder: of the experiment.
        name: of the run, such as "ablation".
        parameters: flat, logged once.
        flow_run: id of the Prefect flow run; "" for none.
    """
    close_abandoned(store)
    note = folder / PARENT
    run = store.find_or_open(_noted(note), name, parent=None, tags={}, parameters=parameters)
    _note(note, run)
    store.tag(run, {FLOW_RUN_TAG: flow_run})
    return run


def open_child(store: Store, folder: Path, parent: str, training: OneTraining) -> StageRun:
    """The child run of a training: the one that a killed process began, or a new one."""
    note = _child_note(folder, training)
    tags = {
        VARIANT_TAG: training.name,
        SEED_TAG: str(training.params.seed),
        TRAINING_TAG: training.key,
    }
    run = store.find_or_open(
        _noted(note), training.label, parent=parent, tags=tags, parameters=training.parameters
    )
    _note(note, run)
    return StageRun(store, run, parent)


def logged_epochs(run: StageRun) -> set[int]:
    """Epochs whose figures a child run holds already."""
    return {int(point.step) for point in run.store.client.get_metric_history(run.id, "loss")}


def is_finished(store: Store, folder: Path, training: OneTraining) -> bool:
    """True if a training's child run has come to its end."""
    run = _noted(_child_note(folder, training))
    return run is not None and store.status_of(run) == "FINISHED"


def _child_note(folder: Path, training: OneTraining) -> Path:
    return folder / "children" / f"{training.key}.json"


def _noted(note: Path) -> str | None:
    return str(json.loads(note.read_text())["run_id"]) if note.is_file() else None


def _note(note: Path, run: str) -> None:
    with atomic_path(note) as temporary:
        temporary.write_text(json.dumps({"run_id": run}))
