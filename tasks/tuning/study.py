"""The study in Optuna's storage: made once, joined by whoever else starts it, worked at until it has the
trials that were asked for.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import optuna
from optuna import Study, Trial, TrialPruned
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.pruners import HyperbandPruner
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState

from ssvh_model.errors import UserError
from tasks.tuning.plan import TuningPlan
from tasks.tuning.storage import FAILURE, WORKER, impatient, open_storage, take_up_again, turn
from tasks.tuning.trial import CHANGES, first_number, reason

ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
FAILURES_IN_A_ROW = 3
SECONDS_BETWEEN_LOOKS = 2.0

# Attributes of the study.
DIGEST = "ssvh.digest"
WANTED = "ssvh.trials"
WORKERS = "ssvh.workers"
MLFLOW_RUN = "ssvh.mlflow_run"
REPORTED = "ssvh.reported"


@dataclass(frozen=True)
class OpenStudy:
    """A study, and the plan that it follows."""

    plan: TuningPlan
    study: Study

    def ended(self) -> list[FrozenTrial]:
        """The trials that came to their end, stopped early or not; each once, should it have been taken up
        twice.
        """
        ended = self.study.get_trials(deepcopy=False, states=ENDED)
        return list({first_number(trial): trial for trial in ended}.values())

    def is_left(self) -> bool:
        """Whether nobody runs a trial, here or elsewhere; asked at the end of a worker, so False where the
        database is away.
        """
        try:
            with impatient():
                return not self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        except UserError:
            return False

    @property
    def wanted(self) -> int:
        """How many trials shall come to their end: the most that anyone who started this study asked for."""
        return int(self.study.user_attrs[WANTED])

    def first(self) -> FrozenTrial | None:
        """The trial of params.yaml's own values; None as long as it has not ended."""
        return next((trial for trial in self.ended() if first_number(trial) == 0), None)

    def best(self) -> FrozenTrial | None:
        """The complete trial with the largest value; None if there is none."""
        complete = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return max(complete, key=lambda trial: (trial.value or 0.0, -trial.number), default=None)


def open_study(plan: TuningPlan, *, trials: int | None, parent: Callable[[str | None], str]) -> OpenStudy:
    """Make the study with params.yaml's own values as its first trial, or join it.

    Args:
        plan: of the study.
        trials: that are asked for; None for as many as before, or for a new study what params.yaml says.
        parent: makes the study's MLflow run, given the one that it has.

    Raises:
        UserError: the storage can't be reached, or has a study of this name that searches something else.
    """
    storage = open_storage(plan.params.tuning.heartbeat)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with turn(plan.study):
        study = optuna.create_study(
            study_name=plan.study, storage=storage, direction="maximize", load_if_exists=True
        )
        known = study.user_attrs
        if DIGEST in known:
            _check_same(plan, known)
        else:
            if not study.get_trials(deepcopy=False):
                first = {CHANGES: plan.default_changes()}
                study.enqueue_trial(plan.space.nearest(plan.params), user_attrs=first)
            study.set_user_attr(DIGEST, plan.digest)
        study.set_user_attr(MLFLOW_RUN, parent(known.get(MLFLOW_RUN)))
        asked = max(trials or 0, known.get(WANTED, 0)) or plan.params.tuning.trials
        study.set_user_attr(WANTED, asked)
    return OpenStudy(plan, study)


def join_study(plan: TuningPlan) -> OpenStudy:
    """The study as a worker sees it, which does not make it.

    Raises:
        UserError: there is no such study, or it searches something else.
    """
    storage = open_storage(plan.params.tuning.heartbeat)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.load_study(study_name=plan.study, storage=storage)
    except KeyError:
        raise UserError(f"there is no study {plan.study}; `ssvh tune` makes it") from None
    _check_same(plan, study.user_attrs)
    return OpenStudy(plan, study)


def _check_same(plan: TuningPlan, known: Mapping[str, Any]) -> None:
    if known.get(DIGEST) != plan.digest:
        raise UserError(
            f"study {plan.study} was started with another search space, params.yaml, features or code; "
            "choose another --study, or none"
        )


def work(opened: OpenStudy, objective: Callable[[Trial], float], say: Callable[[str], None]) -> None:
    """Run trials until the study has those that were asked for, its other workers' included.

    A trial is only begun if it is still wanted, so that the study ends with exactly the number that was asked
    for. A worker that has nothing to begin waits for the trials of the others: one of them may be killed, and
    its trial is then taken up here.

    Args:
        opened: the study.
        objective: runs a trial and returns its value, or raises `TrialPruned`.
        say: logs a line.

    Raises:
        UserError: several trials in a row failed, or the storage can't be reached any more.
    """
    plan = opened.plan
    study = _with_sampler(opened)
    patience = timedelta(seconds=2 * plan.params.tuning.heartbeat)
    worker = f"{socket.gethostname()} {os.getpid()}"
    failures = 0
    told = False
    while True:
        with contextlib.ExitStack() as held:
            held.enter_context(turn(plan.study))
            _give_up_unheard(study, patience)
            ended = len(opened.ended())
            running = len(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))
            if ended >= opened.wanted:
                return
            if ended + running < opened.wanted:
                told = False
                failure = _run_one(study, objective, worker, held)
                failures = 0 if failure is None else failures + 1
                if failure is not None:
                    say(f"trial failed: {failure}")
                if failures == FAILURES_IN_A_ROW:
                    raise UserError(f"{failures} trials in a row failed, the last one: {failure}")
                continue
        if not told:
            told = True
            say(f"{running} trials are being run by others; waiting for them")
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _with_sampler(opened: OpenStudy) -> Study:
    """The study as this worker goes through it: with draws of its own, which no other worker and no earlier
    start has.
    """
    plan, study = opened.plan, opened.study
    with turn(plan.study):
        index = int(study.user_attrs.get(WORKERS, 0)) + 1
        study.set_user_attr(WORKERS, index)
    seed = int(np.random.SeedSequence([plan.params.seed, index]).generate_state(1)[0])
    tuning = plan.params.tuning
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.sampler = TPESampler(seed=seed, n_startup_trials=tuning.random_trials, constant_liar=True)
    most = plan.space.most_epochs(plan.params) or plan.params.warmup.epochs
    study.pruner = HyperbandPruner(
        min_resource=min(tuning.least_epochs, most), max_resource=most, reduction_factor=tuning.reduction
    )
    return study


def _give_up_unheard(study: Study, patience: timedelta) -> None:
    """Take up again what was begun by workers that are gone, also by one killed before its first sign of
    life, which Optuna never notices.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        begun = trial.datetime_start
        if WORKER not in trial.user_attrs and begun is not None and datetime.now() - begun > patience:
            study.tell(trial.number, state=TrialState.FAIL)
    take_up_again(study)


class _Interrupted(BaseException):
    """A KeyboardInterrupt on its way through Optuna, which would tell it to the storage first, however long
    that is away.
    """


def _run_one(
    study: Study, objective: Callable[[Trial], float], worker: str, held: contextlib.ExitStack
) -> str | None:
    """Begin a trial, give the turn to the next worker, and run the trial; why it failed, or None."""
    begun: list[int] = []
    failed: list[Exception] = []

    def run(trial: Trial) -> float:
        trial.set_user_attr(WORKER, worker)
        begun.append(trial.number)
        held.close()
        try:
            return objective(trial)
        except TrialPruned:
            raise
        except Exception as error:
            failed.append(error)
            with contextlib.suppress(UpdateFinishedTrialError):
                trial.set_user_attr(FAILURE, reason(error))
            raise
        except KeyboardInterrupt as interrupt:
            raise _Interrupted from interrupt

    try:
        study.optimize(run, n_trials=1, catch=(Exception,))
    except _Interrupted as interrupted:
        _give_back(study, begun)
        raise (interrupted.__cause__ or KeyboardInterrupt()) from None
    except Exception:
        if begun and study.get_trials(deepcopy=False)[begun[0]].state.is_finished():
            return None  # this worker was not heard of for so long that another one has taken the trial up
        raise
    except BaseException:
        _give_back(study, begun)
        raise
    return reason(failed[0]) if failed else None


def _give_back(study: Study, numbers: list[int]) -> None:
    """Leave a trial that this worker was asked to leave: whoever is next takes it up.

    Where the database is away, whoever is next finds out by the missing signs of life.
    """
    with impatient(), contextlib.suppress(UserError):
        for number in numbers:
            if study.get_trials(deepcopy=False)[number].state == TrialState.RUNNING:
                study.tell(number, state=TrialState.FAIL)


def trial_changes(trial: FrozenTrial) -> dict[str, Any]:
    """What a trial changes in params.yaml."""
    return dict(trial.user_attrs[CHANGES])
