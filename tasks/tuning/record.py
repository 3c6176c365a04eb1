"""The MLflow record of a study: one parent run, and a child a trial, found again by whoever takes the trial
up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.experiments.one_training import OneTraining
from tasks.records.parents import close_abandoned
from tasks.records.prefect_run import PrefectIds
from tasks.records.stage_run import StageRun
from tasks.records.store import Store
from tasks.records.tags import FLOW_RUN_TAG, TASK_RUN_TAG, TRAINING_TAG

TRIAL = "ssvh.trial"
TRIAL_STATE = "ssvh.trial_state"
STUDY = "ssvh.study"


def open_study_run(
    store: Store, known: str | None, study: str, parameters: Mapping[str, Any], flow_run: str
) -> str:
    """The parent run of a study, open: the one that is `known`, or where there is none or it was deleted, a
    new one.

    Args:
        store: MLflow.
        known: its id, as the study has it.
        study: name of the study.
        parameters: flat, logged once.
        flow_run: id of the Prefect flow run; "" for none.
    """
    close_abandoned(store)
    run = store.find_or_open(
        known, f"tuning {study}", parent=None, tags={STUDY: study}, parameters=parameters
    )
    store.tag(run, {FLOW_RUN_TAG: flow_run})
    return run


def open_trial_run(
    store: Store, parent: str, training: OneTraining, number: int, ids: PrefectIds
) -> StageRun:
    """The child run of a trial: the one that a killed worker began, or a new one.

    Args:
        store: MLflow.
        parent: the study's run.
        training: of the trial.
        number: of the trial; of one that was taken up again, the number that it had at first.
        ids: of the Prefect run.
    """
    begun = [
        str(child.info.run_id)
        for child in store.children(parent)
        if child.data.tags.get(TRIAL) == str(number) and child.data.tags.get(TRAINING_TAG) == training.key
    ]
    run = store.find_or_open(
        begun[0] if begun else None,
        training.name,
        parent=parent,
        tags={TRIAL: str(number), TRAINING_TAG: training.key},
        parameters=training.parameters,
    )
    store.tag(
        run,
        {
            TRIAL_STATE: "RUNNING",
            FLOW_RUN_TAG: ids.flow_run,
            TASK_RUN_TAG: ids.task_run,
        },
    )
    return StageRun(store, run, parent)
