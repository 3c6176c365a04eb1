"""Which MLflow run is the parent of a stage's run, and how it stands."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tasks import paths
from tasks.machine.errors import ServiceAway
from tasks.machine.processes import Started, pipeline_process
from tasks.params.keys import flatten
from tasks.params.reading import read_yaml
from tasks.records.owners import Owner, left_open, owners
from tasks.records.stage_run import StageRun
from tasks.records.store import PARENT_VARIABLE, Store, git_commit, reported
from tasks.records.tags import GIT_COMMIT_TAG, STAGE_TAG

if TYPE_CHECKING:
    from mlflow.entities import Run

STARTED_BY = "ssvh.started_by"


def create_parent(store: Store, started_by: str, tags: Mapping[str, str] | None = None) -> str:
    """A new parent run, which lives with this process: should it be killed, the next pipeline closes the run.

    Args:
        store: MLflow.
        started_by: "dvc repro" or "prefect flow".
        tags: more of them.
    """
    close_abandoned(store)
    return _create(store, started_by, Started.this(), tags or {})


def find_parent(store: Store) -> str:
    """The parent run of the stage that runs in this process: handed over, shared with earlier stages, or
    new.
    """
    close_abandoned(store)
    handed_over = os.environ.get(PARENT_VARIABLE)
    if handed_over and store.status_of(handed_over) is not None:
        return handed_over
    starter = pipeline_process() or Started.this()
    if (run := _shared(store, starter)) is not None:
        return run
    return _create(store, "dvc repro" if "DVC_STAGE" in os.environ else "by hand", starter, {})


def _create(store: Store, started_by: str, starter: Started, tags: Mapping[str, str]) -> str:
    run = store.create_run(
        "pipeline",
        parent=None,
        tags={**tags, STARTED_BY: started_by, GIT_COMMIT_TAG: git_commit()},
        process=starter,
    )
    store.log_parameters(run, flatten(read_yaml(paths.PARAMS)))
    return run


def _shared(store: Store, starter: Started) -> str | None:
    """The parent that an earlier stage of the same process has made."""
    wanted = Owner.of(starter)
    query = f"tags.`{wanted.name}` != '' and tags.`{STARTED_BY}` != ''"
    with reported(store.uri):
        found = store.client.search_runs(
            [store.experiment], query, order_by=["start_time DESC"], max_results=1
        )
    for run in found:
        for owner in owners(run.data.tags):
            # An earlier process may have had the same number.
            if owner.name == wanted.name and abs(owner.process.started - starter.started) < 1:
                return str(run.info.run_id)
    return None


def close_abandoned(store: Store) -> None:
    """End, as KILLED, the runs that killed processes left behind as RUNNING: pipelines, stages, trainings,
    studies, trials.

    A run that several processes work at, as the workers of a study do, is left to those that are alive; a
    parent also to those of its children. Runs that name no process are not ours.
    """
    notes = left_open()
    # The end of a run may wait to be sent.
    if not store.send_left_behind():
        return
    running = store.running()
    for run in _abandoned(running):
        # The list may be older than a process that goes on with this run.
        with reported(store.uri):
            now = store.client.get_run(run.info.run_id)
        if now.info.status == "RUNNING" and not _lives(now, running):
            store.set_status(run.info.run_id, "KILLED")
    for note in notes:
        note.unlink(missing_ok=True)


def put_right() -> None:
    """Send what MLflow could not take before, and close what killed processes left open, if there is any;
    looking costs nothing.
    """
    if not left_open() and not any(paths.UNSENT.glob("*.jsonl")):
        return
    try:
        close_abandoned(Store())
    except ServiceAway as error:
        print(f"records of earlier runs wait: {error}", flush=True)


def _abandoned(running: Sequence[Run]) -> list[Run]:
    return [run for run in running if owners(run.data.tags) and not _lives(run, running)]


def _lives(run: Run, running: Sequence[Run]) -> bool:
    if any(owner.lives() for owner in owners(run.data.tags)):
        return True
    children = (one for one in running if one.data.tags.get("mlflow.parentRunId") == run.info.run_id)
    return any(owner.lives() for child in children for owner in owners(child.data.tags))


def close_parent(
    store: Store, parent: str, status: str, *, wait: float, tags: Mapping[str, str] | None = None
) -> None:
    """End a parent's run, and as KILLED those of its stages that had no chance to. What MLflow does not take
    now waits; nothing is raised.

    Args:
        store: MLflow.
        parent: its run.
        status: FINISHED, FAILED or KILLED.
        wait: seconds to wait for an MLflow that is away.
        tags: to set.
    """
    run = StageRun(store, parent, parent)
    if tags:
        run.tag(**tags)
    if not run.close(status, wait=wait, final=True):
        return
    try:
        _end_children(store, parent)
    except ServiceAway as error:
        print(f"stages that were killed are still RUNNING in MLflow until the next run: {error}", flush=True)


def _end_children(store: Store, parent: str) -> None:
    with reported(store.uri):
        children = store.children(parent)
    for child in children:
        if child.info.status == "RUNNING":
            store.set_status(child.info.run_id, "KILLED")


def stage_tags(parent: str, stages: Sequence[str]) -> dict[str, str]:
    """What each of `stages` did, as tags of the parent: it ran under this parent, or an earlier run's result
    was reused.
    """
    tags = {}
    for stage in stages:
        record = paths.run_record(stage)
        if record.is_file():
            content = json.loads(record.read_text())
            how = "ran" if content.get("parent_run_id") == parent else "reused"
            tags[f"{STAGE_TAG}.{stage.replace('@', '-')}"] = f"{how} {content['run_id']}"
    return tags
