"""Names of tags, and how long a tag may be."""

from __future__ import annotations

RAISED_TAG = "ssvh.checks_raised"
NONE_RAISED = "none"
SELECTED_TAG = "ssvh.selected"  # start or end: the state of the training that was evaluated and registered
SELECTION_TAG = "ssvh.selection"  # the same in a sentence, with what was compared
HASH_TAG = "ssvh.hasher_sha256"  # of a version: what its files must give (`hasher_digest`)
ROLLED_BACK_TAG = "ssvh.rolled_back"
MOST_CHARACTERS = 5000  # of a description or a tag, in some of the databases that MLflow runs on
GIT_COMMIT_TAG = "ssvh.git_commit"
PACKAGE_TAG = "ssvh.package"  # such as "autossvh 0.2.0"
FLOW_RUN_TAG = "ssvh.prefect_flow_run"
TASK_RUN_TAG = "ssvh.prefect_task_run"
WATCHED_TAG = "ssvh.watched_version"  # of the run of looks at the folder: the version that was newest then
STAGE_TAG = "ssvh.stage"
VARIANT_TAG, SEED_TAG = "ssvh.variant", "ssvh.seed"
REASON_TAG = "ssvh.reason"  # why a trial failed
BEST_TRIAL_TAG, BEST_TRAINING_TAG = "ssvh.best_trial", "ssvh.best_training"
MODEL_TAG, MODEL_VERSION_TAG = "ssvh.model", "ssvh.model_version"  # what a run has registered
TRAINING_TAG = "ssvh.training"  # of a training's run: the key under which it is found again
PARENT_RUN_TAG = "ssvh.parent_run_id"
BITS_TAG = "ssvh.bits"
INPUT_TAG = "ssvh.input."  # and the path of an input: its digest in dvc.lock
DECISION_TAG = "ssvh.promotion.decision"
DECIDED_AT_TAG = "ssvh.promotion.at"
