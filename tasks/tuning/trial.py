"""One trial of a study: its parameters, its training, and when it is stopped."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from optuna import Trial, TrialPruned
from optuna.trial import FrozenTrial

from ssvh_model.errors import UserError
from ssvh_model.locks import hold_lock
from ssvh_model.training.figures import LABEL_FREE_SCORE, VALIDATION_GMAP
from tasks.experiments.one_training import OneTraining
from tasks.experiments.record import logged_epochs
from tasks.experiments.run import STATE_FOLDER, train_phases
from tasks.experiments.videos import open_corpus
from tasks.machine.services import await_answer
from tasks.params.sections import Params
from tasks.records.prefect_run import PrefectIds
from tasks.records.stage_run import SECONDS_WHEN_STOPPED, StageRun
from tasks.records.store import Store, tracking_uri
from tasks.records.tags import REASON_TAG, TRAINING_TAG
from tasks.training.settings import training_session
from tasks.tuning.plan import TuningPlan
from tasks.tuning.record import TRIAL_STATE, open_trial_run

CHANGES = "ssvh.changes"  # of params.yaml, as an attribute of the trial
NUMBER = "ssvh.number"
TRAINING = TRAINING_TAG

# How a trial's end shows in MLflow, which has no word for one that was stopped because others are better.
ENDS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED", "INTERRUPTED": "KILLED"}


# What MLflow shows a trial's value as.
VALUES = {VALIDATION_GMAP: "gmap", LABEL_FREE_SCORE: "score_without_labels"}


@dataclass
class Curve:
    """The course of a trial's value over the epochs of its rounds.

    Attributes:
        figure: of an epoch's row that is measured.
        averaged: measurements that its value is the mean of.
        warmup: whether the warm-up's measurements count; they do where there are no rounds.
    """

    figure: str
    averaged: int
    warmup: bool
    _measured: list[float] = field(default_factory=list)
    _epochs: int = 0

    def add(self, row: dict[str, Any]) -> bool:
        """Take an epoch's row; true if the trial's value may have changed."""
        if row["phase"] == "warmup" and not self.warmup:
            return False
        self._epochs += 1
        if self.figure not in row:
            return False
        self._measured.append(row[self.figure])
        return True

    @property
    def value(self) -> float:
        """Mean of the last measurements."""
        return float(np.mean(self._measured[-self.averaged :]))

    @property
    def epochs(self) -> int:
        """That count so far."""
        return self._epochs


def first_number(trial: Trial | FrozenTrial) -> int:
    """The number that a trial had when it was begun: one that another worker takes up gets a new one from
    Optuna.
    """
    return int(trial.user_attrs.get(NUMBER, trial.number))


def run_trial(
    plan: TuningPlan, trial: Trial, parent: str, ids: PrefectIds, say: Callable[[str], None]
) -> float:
    """Train with a trial's parameters, or go on with that, and return the trial's value.

    Args:
        plan: of the study.
        trial: as Optuna asked for it.
        parent: MLflow run of the study.
        ids: of the Prefect run.
        say: logs a line.

    Raises:
        TrialPruned: the others are better.
        UserError: the parameters do not fit together, or a service is at fault.
    """
    changes = trial.user_attrs.get(CHANGES)
    if changes is None:
        changes = plan.space.changes(plan.space.suggest(trial), plan.most_clusters)
        trial.set_user_attr(CHANGES, changes)
    else:
        plan.space.suggest(trial)
    params = plan.changed(changes)
    number = first_number(trial)
    trial.set_user_attr(NUMBER, number)
    training = plan.training(params, f"trial {number}")
    trial.set_user_attr(TRAINING, training.key)
    wait = params.running.wait_for_services
    if tracking_uri().startswith("http"):
        await_answer("MLflow", f"{tracking_uri().rstrip('/')}/health", wait, say)
    run = open_trial_run(Store(), parent, training, number, ids)
    end = "INTERRUPTED"
    try:
        curve = Curve(plan.figure, params.tuning.averaged, warmup=not params.rounds)
        with hold_lock(training.work / "lock"):
            _train(training, _log(plan, run, trial, curve, _last_epoch(params), say))
        run.log_metrics({VALUES[plan.figure]: curve.value})
        end = "COMPLETE"
        return curve.value
    except TrialPruned:
        end = "PRUNED"
        _remove_checkpoints(training)
        raise
    except Exception as error:
        end = "FAIL"
        run.tag(**{REASON_TAG: reason(error)})
        raise
    finally:
        run.tag(**{TRIAL_STATE: end})
        told = run.close(ENDS[end], wait=wait if end in ("COMPLETE", "PRUNED") else SECONDS_WHEN_STOPPED)
        if told and run.store.status_of(run.id) != ENDS[end]:
            # Another machine took this study for abandoned meanwhile, because of a worker there that was
            # killed.
            run.store.set_status(run.id, ENDS[end])


def reason(error: BaseException) -> str:
    """Why a trial failed, in one line."""
    text = " ".join(str(error).split())[:500]
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"


def _last_epoch(params: Params) -> int:
    """The epochs that count, when a trial is not stopped."""
    return sum(one.epochs for one in params.rounds.values()) or params.warmup.epochs


def _log(
    plan: TuningPlan, run: StageRun, trial: Trial, curve: Curve, last: int, say: Callable[[str], None]
) -> Callable[[dict[str, Any]], None]:
    """Records an epoch's figures, those from before a kill not again, and stops the trial if Optuna says so
    before its last epoch.

    A trial that is taken up again is not stopped at an epoch that its record is past: its value would be
    another than the record's last.
    """
    known = logged_epochs(run)
    passed = max(known, default=0)

    def log(row: dict[str, Any]) -> None:
        if row["epoch"] not in known:
            figures = {
                ("epoch_seconds" if name == "seconds" else name): value
                for name, value in row.items()
                if isinstance(value, int | float) and name != "epoch"
            }
            run.log_metrics(figures, step=row["epoch"])
        if not curve.add(row):
            return
        trial.report(curve.value, curve.epochs)
        if row["epoch"] >= passed and curve.epochs < last and trial.should_prune():
            raise TrialPruned(
                f"after {curve.epochs} epochs of its rounds, at {plan.value_name} {curve.value:.4f}"
            )
        say(f"epoch {row['epoch']}, {plan.value_name} {row[plan.figure]:.4f}")

    return log


def _train(training: OneTraining, log: Callable[[dict[str, Any]], None]) -> None:
    from ssvh_model.training.checkpoint import load_history

    state = training.work / STATE_FOLDER
    if state.is_dir():
        # The same parameters were trained before, by another trial or an ablation.
        for row in load_history(state):
            log({**row, "seconds": 0.0})
        return
    file = open_corpus(training.corpus, training.params)
    train_phases(training, training_session(training.params, file), log, state)


def _remove_checkpoints(training: OneTraining) -> None:
    for checkpoints in training.work.glob("round-*"):
        shutil.rmtree(checkpoints)
