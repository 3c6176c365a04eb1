"""Which MLflow run is the parent of a stage's run, and how it stands."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ssvh_model.files import atomic_path
from tasks import paths
from tasks.params_reading import read_yaml
from tasks.processes import Started, pipeline_process
from tasks.tracking import PARENT_VARIABLE, Store, flatten, git_commit

PARENTS = paths.WORK / "parents"


def create_parent(store: Store, started_by: str) -> str:
    """A new parent run, noted under this process so that it can be closed should the process be killed.

    Args:
        store: MLflow.
        started_by: "dvc repro", "ssvh run" or "prefect flow".
    """
    return _create(store, started_by, Started.this())


def find_parent(store: Store) -> str:
    """The parent run of the stage that runs in this process: handed over, shared with earlier stages, or new."""
    close_abandoned(store)
    handed_over = os.environ.get(PARENT_VARIABLE)
    if handed_over and store.status_of(handed_over) is not None:
        return handed_over
    starter = pipeline_process() or Started.this()
    note = _note(starter)
    if note.is_file():
        run = str(json.loads(note.read_text())["run_id"])
        if store.status_of(run) is not None:
            return run
    return _create(store, "dvc repro" if "DVC_STAGE" in os.environ else "by hand", starter)


def _create(store: Store, started_by: str, starter: Started) -> str:
    run = store.create_run(
        "pipeline", parent=None, tags={"ssvh.started_by": started_by, "ssvh.git_commit": git_commit()}
    )
    store.log_parameters(run, flatten(read_yaml(paths.PARAMS)))
    note_parent(run, starter)
    return run


def note_parent(run: str, starter: Started) -> None:
    """Note a parent run under the process that it lives with, so that it can be closed should the process be killed."""
    with atomic_path(_note(starter)) as temporary:
        temporary.write_text(json.dumps({"run_id": run, "pid": starter.pid, "started": starter.started}))


def _note(starter: Started) -> Path:
    return PARENTS / f"{starter.pid}-{starter.started:.2f}.json"


def close_abandoned(store: Store) -> None:
    """End, as KILLED, the parents and children that a killed pipeline left behind as RUNNING.

    A parent that several processes work at, as the workers of a study do, is left to those that are alive.
    """
    notes = {note: json.loads(note.read_text()) for note in PARENTS.glob("*.json")}
    alive = {note for note, noted in notes.items() if Started(noted["pid"], noted["started"]).alive()}
    kept = {notes[note]["run_id"] for note in alive}
    for note, noted in notes.items():
        if note in alive:
            continue
        if noted["run_id"] in kept:
            note.unlink(missing_ok=True)
            continue
        end_children(store, noted["run_id"])
        if store.status_of(noted["run_id"]) == "RUNNING":
            store.set_status(noted["run_id"], "KILLED")
        note.unlink(missing_ok=True)


def end_children(store: Store, parent: str) -> None:
    """End, as KILLED, the stages of a parent that had no chance to end their own runs."""
    for child in store.children(parent):
        if child.info.status == "RUNNING":
            store.set_status(child.info.run_id, "KILLED")


def note_stages(store: Store, parent: str, stages: list[str]) -> None:
    """Tag the parent with what each of `stages` did: it ran under this parent, or an earlier run's result was reused."""
    own = {str(child.info.run_id) for child in store.children(parent)}
    tags = {}
    for stage in stages:
        record = paths.run_record(stage)
        if record.is_file():
            run = str(json.loads(record.read_text())["run_id"])
            tags[f"ssvh.stage.{stage.replace('@', '-')}"] = f"{'ran' if run in own else 'reused'} {run}"
    store.tag(parent, tags)
