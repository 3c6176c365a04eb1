"""What a study has found: the table of its trials, pictures, and what MLflow keeps of it."""

from __future__ import annotations

import warnings
from typing import Any

from optuna.exceptions import ExperimentalWarning
from optuna.importance import get_param_importances
from optuna.trial import FrozenTrial, TrialState

from ssvh_model.files import write_json
from ssvh_model.pictures.curves import draw_curves
from ssvh_model.pictures.tuning import ShownTrial, draw_history, draw_importances, draw_slices
from ssvh_model.training.checkpoint import load_history
from ssvh_model.training.figures import LABEL_FREE_SCORE, VALIDATION_GMAP
from tasks.experiments.one_training import WORK
from tasks.experiments.run import STATE_FOLDER
from tasks.records.stage_run import StageRun
from tasks.records.store import Store
from tasks.records.tags import BEST_TRAINING_TAG, BEST_TRIAL_TAG, TRAINING_TAG
from tasks.tuning.space import Range
from tasks.tuning.study import OpenStudy, trial_changes
from tasks.tuning.trial import TRAINING, first_number

FEWEST_FOR_IMPORTANCES = 4
CURVES = (
    "loss",
    VALIDATION_GMAP,
    LABEL_FREE_SCORE,
    "reconstruction",
    "view_contrastive",
    "p2set",
    "similarity",
    "epoch_seconds",
)


def report_study(opened: OpenStudy, parent: str) -> dict[str, Any]:
    """Write `table.json` and the pictures to the study's folder and log them to its MLflow run; the table's
    content.

    There must be a complete trial.
    """
    plan, best = opened.plan, opened.best()
    assert best is not None and best.value is not None
    folder = plan.folder
    shown = [_shown(trial) for trial in opened.ended() if trial.value is not None]
    remark = f"{plan.study}: {plan.corpus.name}, {plan.params.model.bits} bits, seed {plan.params.seed}, {plan.measured_on}"
    first = opened.first()
    present = plan.space.nearest(plan.params) if first is None else first.params
    log = [name for name, one in plan.space.dimensions.items() if isinstance(one, Range) and one.log]
    first_value = None if first is None else first.value

    draw_history(folder / "history.png", shown, value=plan.value_name, first=first_value, remark=remark)
    draw_slices(folder / "slices.png", shown, value=plan.value_name, log=log, present=present, remark=remark)
    pictures = ["history.png", "slices.png"]
    importances = _importances(opened)
    if importances:
        draw_importances(folder / "importances.png", importances, remark=remark)
        pictures.append("importances.png")
    if rows := _epochs(best, parent):
        draw_curves(folder / "best_curves.png", rows, columns=CURVES)
        pictures.append("best_curves.png")
    content = {
        "study": plan.study,
        "features": plan.corpus.name,
        "best": {"trial": first_number(best), "gmap": best.value, "changes": trial_changes(best)},
        "params_yaml_at_the_start": {"gmap": first_value},
        "importances": importances,
        "trials": [_row(trial) for trial in opened.ended()],
    }
    write_json(folder / "table.json", content)

    store = Store()
    run = StageRun(store, parent, parent)
    for name in ("table.json", *pictures):
        run.log_artifact(folder / name)
    store.log_metrics(parent, {"gmap": best.value, "best_trial": first_number(best)})
    store.tag(
        parent,
        {BEST_TRIAL_TAG: str(first_number(best)), BEST_TRAINING_TAG: best.user_attrs[TRAINING]},
    )
    return content


def _shown(trial: FrozenTrial) -> ShownTrial:
    assert trial.value is not None
    return ShownTrial(first_number(trial), trial.value, trial.state == TrialState.COMPLETE, trial.params)


def _row(trial: FrozenTrial) -> dict[str, Any]:
    return {
        "trial": first_number(trial),
        "state": trial.state.name,
        "gmap": trial.value,
        "epochs_of_rounds": trial.last_step,
        "parameters": trial.params,
        "changes": trial_changes(trial),
    }


def _importances(opened: OpenStudy) -> dict[str, float]:
    """Name -> share; empty where too few trials came to their end to say."""
    complete = [trial for trial in opened.ended() if trial.state == TrialState.COMPLETE]
    if len({trial.value for trial in complete}) < FEWEST_FOR_IMPORTANCES:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return {name: float(share) for name, share in get_param_importances(opened.study).items()}


def _epochs(trial: FrozenTrial, parent: str) -> list[dict[str, Any]]:
    """The epochs of a trial; of one that ran on another machine, as MLflow has them."""
    state = WORK / trial.user_attrs[TRAINING] / STATE_FOLDER
    if state.is_dir():
        return load_history(state)
    store = Store()
    store.send_left_behind()  # of workers that were killed
    child = next(
        one for one in store.children(parent) if one.data.tags.get(TRAINING_TAG) == trial.user_attrs[TRAINING]
    )
    rows: dict[int, dict[str, Any]] = {}
    for name in CURVES:
        for point in store.client.get_metric_history(child.info.run_id, name):
            rows.setdefault(point.step, {"epoch": point.step})[name] = point.value
    return [rows[epoch] for epoch in sorted(rows)]
