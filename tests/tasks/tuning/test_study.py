"""A study in its storage: the first trial, the number of trials, who takes what up, and a database that is
away.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import optuna
import psycopg
import pytest
from optuna import Trial, TrialPruned
from optuna.trial import TrialState
from sqlalchemy import event, make_url

from ssvh_model.errors import UserError
from tasks.params.load import load_params
from tasks.tuning.plan import TuningPlan, plan_tuning
from tasks.tuning.storage import ADDRESS_VARIABLE, PATIENCE, WORKER, open_storage, take_up_again
from tasks.tuning.study import ENDED, OpenStudy, join_study, open_study, work
from tasks.tuning.trial import CHANGES, NUMBER, first_number
from tests.postgresql import PostgreSQL
from tests.tasks.tuning.small import SPACE, write_tiny_tuning


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TuningPlan:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(ADDRESS_VARIABLE, raising=False)
    write_tiny_tuning(tmp_path, tuning__heartbeat=1)
    return read_plan()


def read_plan(study: str = "") -> TuningPlan:
    return plan_tuning(load_params(), Path("features.h5"), study)


def opened(plan: TuningPlan, trials: int | None = None) -> OpenStudy:
    return open_study(plan, trials=trials, parent=lambda known: known or "run")


def objective(plan: TuningPlan, seconds: float = 0.0) -> Callable[[Trial], float]:
    """What a trial is for a study: values, and a GMAP. The larger alpha, the better."""

    def run(trial: Trial) -> float:
        changes = trial.user_attrs.get(CHANGES)
        values = plan.space.suggest(trial)
        if changes is None:
            trial.set_user_attr(CHANGES, plan.space.changes(values, plan.most_clusters))
        time.sleep(seconds)
        return float(values["losses.alpha"])

    return run


def states(study: OpenStudy) -> list[str]:
    return [trial.state.name for trial in study.study.trials]


def test_the_first_trial_is_what_params_yaml_says(plan: TuningPlan) -> None:
    study = opened(plan)
    work(study, objective(plan), print)
    assert states(study) == ["COMPLETE"] * 4
    first, second = study.study.trials[:2]
    assert plan.changed(first.user_attrs[CHANGES]) == plan.params
    assert first.params["losses.alpha"] == plan.params.losses.alpha
    assert plan.changed(second.user_attrs[CHANGES]) != plan.params
    best = study.best()
    assert best is not None and best.value == max(trial.value for trial in study.study.trials)


def test_trials_end_with_the_number_asked_for_and_more_can_be_asked_for(plan: TuningPlan) -> None:
    study = opened(plan, trials=3)

    def second_is_stopped(trial: Trial) -> float:
        objective(plan)(trial)
        trial.report(0.5, 1)
        if trial.number == 1:
            raise TrialPruned
        return 1.0

    work(study, second_is_stopped, print)
    assert states(study) == ["COMPLETE", "PRUNED", "COMPLETE"]
    work(opened(plan, trials=2), objective(plan), print)
    assert states(study) == ["COMPLETE", "PRUNED", "COMPLETE"], (
        "who joins and asks for fewer gets what there is"
    )
    work(opened(plan, trials=5), objective(plan), print)
    assert len(study.study.trials) == 5
    parameters = [tuple(trial.params.items()) for trial in study.study.trials]
    assert len(set(parameters)) == 5, "a new start draws anew"


def test_a_failed_trial_does_not_count_and_three_in_a_row_end_the_work(plan: TuningPlan) -> None:
    study = opened(plan, trials=3)
    said: list[str] = []
    failing = {1}

    def sometimes(trial: Trial) -> float:
        objective(plan)(trial)
        if trial.number in failing:
            raise UserError("features.h5: can't be read\nat all")
        return 1.0

    work(study, sometimes, said.append)
    assert states(study) == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert "trial failed: features.h5: can't be read at all" in said
    failing.update(range(100))
    with pytest.raises(UserError, match="3 trials in a row failed, the last one: features"):
        work(opened(plan, trials=9), sometimes, said.append)
    assert states(study)[4:] == ["FAIL"] * 3


class Stopped(BaseException):
    """Stands for whatever ends a process from outside."""


def test_an_interrupted_trial_is_taken_up_by_the_next_start(plan: TuningPlan) -> None:
    study = opened(plan, trials=2)
    for number, how in ((1, KeyboardInterrupt()), (2, Stopped())):
        with pytest.raises(type(how)):
            work(study, _stopping_at(plan, number, how), print)
        assert states(study)[-1] == "FAIL"
    work(study, objective(plan), print)
    trials = study.study.trials
    assert [trial.state.name for trial in trials] == ["COMPLETE", "FAIL", "FAIL", "COMPLETE"]
    assert trials[1].params == trials[2].params == trials[3].params
    assert trials[3].user_attrs[CHANGES] == trials[1].user_attrs[CHANGES]


def _stopping_at(plan: TuningPlan, number: int, how: BaseException) -> Callable[[Trial], float]:
    def run(trial: Trial) -> float:
        objective(plan)(trial)
        if trial.number == number:
            raise how
        return 1.0

    return run


@pytest.mark.slow
def test_a_trial_that_is_not_heard_of_is_taken_up_again(plan: TuningPlan) -> None:
    study = opened(plan, trials=2)
    # Two that are begun by workers that are killed at once: one had told who it is and sent a sign of life,
    # one had not.
    with pytest.warns(UserWarning, match="supposed to be used with Study.optimize"):
        heard, _ = study.study.ask(), study.study.ask()
    heard.set_user_attr(WORKER, "another machine")
    open_storage(1).record_heartbeat(heard._trial_id)
    began = time.monotonic()
    work(study, objective(plan), print)
    assert time.monotonic() - began > 1.5, "only after two signs of life were missed"
    assert states(study) == ["FAIL", "FAIL", "COMPLETE", "COMPLETE"]
    again = next(trial for trial in study.ended() if trial.system_attrs["failed_trial"] == heard.number)
    assert plan.changed(again.user_attrs[CHANGES]) == plan.params, "the first trial is still the first"


@pytest.mark.parametrize("twice", [False, True])
def test_a_trial_is_not_lost_where_whoever_gave_it_up_is_killed_in_the_middle(
    plan: TuningPlan, twice: bool
) -> None:
    study = opened(plan, trials=2)
    for _ in range(1 + twice):
        # Whether it was told as failed, but not taken up, by a process that is killed, or by a database that
        # restarts between having written that and saying so, is all the same to the next.
        with pytest.warns(UserWarning, match="supposed to be used with Study.optimize"):
            left = study.study.ask()
        left.set_user_attr(WORKER, "another machine")
        study.study.tell(left.number, state=TrialState.FAIL)
    work(study, objective(plan), print)
    ended = study.ended()
    assert sum(state == "COMPLETE" for state in states(study)) == len(ended) == 2
    again = [trial for trial in ended if "failed_trial" in trial.system_attrs]
    assert [trial.system_attrs["failed_trial"] for trial in again] == list(range(1 + twice))
    for trial in again:
        assert trial.params.items() >= study.study.trials[trial.system_attrs["failed_trial"]].params.items()


def test_a_trial_that_was_taken_up_twice_counts_once(plan: TuningPlan) -> None:
    study = opened(plan, trials=3)
    with pytest.warns(UserWarning, match="supposed to be used with Study.optimize"):
        left = study.study.ask()
    left.set_user_attr(NUMBER, left.number)
    study.study.tell(left.number, state=TrialState.FAIL)
    take_up_again(study.study)
    (_, again) = study.study.get_trials()
    study.study.add_trial(again)  # asked for twice of a database that restarted meanwhile
    work(study, objective(plan), print)
    assert sorted(first_number(trial) for trial in study.ended()) == [0, 3, 4]


def test_another_search_under_the_same_name_is_refused(plan: TuningPlan, tmp_path: Path) -> None:
    named = read_plan("mine")
    opened(named)
    join_study(named)
    with pytest.raises(UserError, match="there is no study yours"):
        join_study(read_plan("yours"))
    write_tiny_tuning(tmp_path, losses__alpha=3.3)
    assert read_plan("mine").digest == named.digest, "what is searched may change, as `--apply` does it"
    for change in ({"model__bits": 8}, {"tuning__search": ["losses.alpha"]}, {"tuning__averaged": 2}):
        write_tiny_tuning(tmp_path, **change)
        other = read_plan("mine")
        for start in (opened, join_study):
            with pytest.raises(UserError, match="study mine was started with another"):
                start(other)
        assert read_plan().study != plan.study
    write_tiny_tuning(tmp_path, tuning__space={**SPACE, "losses.beta": [0.0, 0.1]})
    with pytest.raises(UserError, match="study mine was started with another"):
        opened(read_plan("mine"))


@pytest.mark.parametrize(
    "address, message",
    [
        ("here and there", "OPTUNA_STORAGE is no address of a database"),
        (
            "mysql://me:secret@host/optuna",
            "OPTUNA_STORAGE is mysql://me:***@host/optuna; allowed are sqlite and postgresql",
        ),
        (
            "postgresql://me:secret@127.0.0.1:1/optuna",
            "postgresql://me:***@127.0.0.1:1/optuna can't be reached",
        ),
    ],
)
def test_a_wrong_address_is_one_line_without_the_password(
    monkeypatch: pytest.MonkeyPatch, address: str, message: str
) -> None:
    monkeypatch.setenv(ADDRESS_VARIABLE, address)
    with pytest.raises(UserError) as raised:
        open_storage(60)
    assert message in str(raised.value) and "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


# From here on with PostgreSQL.


@pytest.fixture
def shared_plan(
    plan: TuningPlan, postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TuningPlan]:
    monkeypatch.setenv(ADDRESS_VARIABLE, postgresql.create(f"study_{time.time_ns()}"))
    yield plan


def work_in_a_process(seconds: float) -> None:
    plan = read_plan()
    work(opened(plan, trials=12), objective(plan, seconds), print)


@pytest.mark.slow
def test_several_workers_that_start_together_share_one_study(shared_plan: TuningPlan) -> None:
    context = get_context("spawn")
    workers: list[Any] = [context.Process(target=work_in_a_process, args=(0.4,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    (name,) = optuna.get_all_study_names(open_storage(1))
    study = join_study(shared_plan)
    assert name == shared_plan.study
    assert states(study) == ["COMPLETE"] * 12, "exactly as many as were asked for"
    who = [trial.user_attrs[WORKER] for trial in study.study.trials]
    assert len(set(who)) >= 2
    firsts = [
        trial for trial in study.study.trials if trial.user_attrs[CHANGES] == shared_plan.default_changes()
    ]
    assert [trial.number for trial in firsts] == [0], "params.yaml's own values are tried once"


@pytest.mark.slow
def test_a_killed_worker_s_trial_is_taken_up_by_another(shared_plan: TuningPlan) -> None:
    context = get_context("spawn")
    doomed: Any = context.Process(target=work_in_a_process, args=(600.0,))
    doomed.start()
    while True:
        time.sleep(0.2)
        assert doomed.is_alive()
        try:
            running = join_study(shared_plan).study.get_trials(states=(TrialState.RUNNING,))
        except UserError:
            continue
        if running and WORKER in running[0].user_attrs:
            break
    doomed.kill()
    doomed.join()
    study = opened(shared_plan, trials=12)
    work(study, objective(shared_plan), print)
    assert states(study).count("COMPLETE") == 12 and states(study).count("FAIL") == 1
    again = next(trial for trial in study.study.trials if trial.system_attrs.get("failed_trial") == 0)
    assert again.user_attrs[CHANGES] == study.study.trials[0].user_attrs[CHANGES]


@pytest.mark.slow
def test_the_study_goes_on_when_its_database_restarts(
    shared_plan: TuningPlan, postgresql: PostgreSQL
) -> None:
    study = opened(shared_plan, trials=6)
    at_work = threading.Event()
    ran: list[int] = []

    def slow(trial: Trial) -> float:
        at_work.set()
        ran.append(trial.number)
        time.sleep(0.3)
        trial.report(0.5, 1)
        return objective(shared_plan)(trial)

    worker = threading.Thread(target=work, args=(study, slow, print))
    worker.start()
    try:
        assert at_work.wait(120)
        postgresql.stop()
        time.sleep(1.0)
    finally:
        postgresql.start()
    worker.join(120)
    assert not worker.is_alive()
    assert sum(trial.state in ENDED for trial in study.study.trials) == 6
    assert len(ran) == 6, "no trial was run twice"
    assert TrialState.RUNNING not in {trial.state for trial in study.study.trials}


@pytest.mark.slow
def test_a_worker_that_is_asked_to_stop_does_not_wait_for_the_database(
    shared_plan: TuningPlan, postgresql: PostgreSQL
) -> None:
    study = opened(shared_plan, trials=2)

    def interrupted(trial: Trial) -> float:
        objective(shared_plan)(trial)
        postgresql.stop()
        raise KeyboardInterrupt("SIGTERM")

    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
            work(study, interrupted, print)
        assert not study.is_left(), "nobody knows"
        assert time.monotonic() - began < 0.5 * PATIENCE, (
            "it does not wait for the database as a worker at work does"
        )
    finally:
        postgresql.start()
    work(study, objective(shared_plan), print)
    assert states(study) == ["FAIL", "COMPLETE", "COMPLETE"], "it was noticed by the missing signs of life"
    assert study.is_left()


def test_a_connection_that_is_lost_between_two_questions_of_one_reading_is_made_again(
    shared_plan: TuningPlan,
) -> None:
    study = opened(shared_plan, trials=2)
    work(study, objective(shared_plan), print)
    storage = open_storage(60)
    lost: list[str] = []

    # Optuna takes the first error for a question that was too long and asks again, over the same connection.
    @event.listens_for(storage.engine, "before_cursor_execute")
    def lose(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if not lost and "FROM trial_params" in statement:
            lost.append(statement)
            with psycopg.connect(
                make_url(os.environ[ADDRESS_VARIABLE])
                .set(drivername="postgresql")
                .render_as_string(hide_password=False),
                autocommit=True,
            ) as other:
                other.execute("SELECT pg_terminate_backend(%s)", (cursor.connection.info.backend_pid,))

    assert [trial.state for trial in storage.get_all_trials(study.study._study_id)] == [
        TrialState.COMPLETE
    ] * 2
    assert lost
