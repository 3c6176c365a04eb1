"""A trial in its training and its record: taken up again after a kill, and on videos without labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna import TrialPruned

from ssvh_model.errors import UserError
from ssvh_model.features import FeatureMeta, write_feature_file
from tasks.params.load import load_params
from tasks.records.prefect_run import PrefectIds
from tasks.records.store import Store
from tasks.tuning.plan import plan_tuning
from tasks.tuning.storage import ADDRESS_VARIABLE
from tasks.tuning.trial import CHANGES, NUMBER, run_trial
from tests.tasks.experiments.small import features
from tests.tasks.tuning.small import write_tiny_tuning

ROUNDS = {"1": {"after": "warmup", "clusters": [5], "epochs": 4, "refresh_every": 1}}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(ADDRESS_VARIABLE, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return tmp_path


IDS = PrefectIds(flow_run="", task_run="")


def parent_run() -> str:
    return Store().find_or_open(None, "tuning", parent=None, tags={}, parameters={})


def test_a_trial_taken_up_again_is_stopped_at_no_epoch_that_it_passed(project: Path) -> None:
    write_tiny_tuning(project, rounds=ROUNDS)
    plan = plan_tuning(load_params(), Path("features.h5"), "")
    parent = parent_run()
    attributes = {CHANGES: plan.default_changes(), NUMBER: 0}

    def killed_after_three(line: str) -> None:
        if line.startswith(f"epoch {plan.params.warmup.epochs + 3},"):
            raise KeyboardInterrupt

    begun = optuna.create_study(direction="maximize", pruner=optuna.pruners.NopPruner())
    begun.enqueue_trial(plan.space.nearest(plan.params), attributes)
    with pytest.raises(KeyboardInterrupt):
        run_trial(plan, begun.ask(), parent, IDS, killed_after_three)

    # Meanwhile the others became better than this one ever was.
    again = optuna.create_study(direction="maximize", pruner=optuna.pruners.ThresholdPruner(lower=2.0))
    again.enqueue_trial(plan.space.nearest(plan.params), attributes)
    trial = again.ask()
    with pytest.raises(TrialPruned):
        run_trial(plan, trial, parent, IDS, print)
    (child,) = Store().children(parent)
    logged = Store().client.get_metric_history(child.info.run_id, "validation_gmap")
    assert len(logged) == plan.params.warmup.epochs + 3
    assert again.trials[0].last_step == 3, (
        "the epochs that its record has, and its value, are those of Optuna"
    )


def without_labels(path: Path, training_videos: int) -> None:
    values = features(videos=100)
    rest = (100 - training_videos) // 2
    write_feature_file(
        path,
        values,
        ids=[f"video {row}" for row in range(100)],
        labels=[()] * 100,
        splits=["train"] * training_videos
        + ["validation"] * rest
        + ["query"] * (100 - training_videos - rest),
        meta=FeatureMeta("none", "", 1),
    )


def test_without_labels_a_trial_is_worth_what_its_codes_score(project: Path) -> None:
    write_tiny_tuning(project, rounds=ROUNDS)
    without_labels(project / "features.h5", 80)
    plan = plan_tuning(load_params(), Path("features.h5"), "")
    assert (plan.value_name, plan.measured_on) == ("score without labels", "by training videos")
    study = optuna.create_study(direction="maximize")
    said: list[str] = []
    parent = parent_run()
    value = run_trial(plan, study.ask(), parent, IDS, said.append)
    (child,) = Store().children(parent)
    logged = [
        point.value for point in Store().client.get_metric_history(child.info.run_id, "label_free_score")
    ]
    counted = logged[plan.params.warmup.epochs :][-plan.params.tuning.averaged :]
    assert value == pytest.approx(sum(counted) / len(counted)) and value > 0
    assert child.data.metrics["score_without_labels"] == value and "gmap" not in child.data.metrics
    assert any("score without labels 0." in line for line in said)


@pytest.mark.parametrize(
    "changes, videos, message",
    [
        ({}, 60, "needs 64 training videos, of which there are 60"),
        ({"model__start": "random", "losses__gamma": 0.0}, 80, "and model.start: itq, which is random"),
        (
            {"tuning__search": ["model.training_bits"], "tuning__space": {"model.training_bits": [None, 32]}},
            80,
            "tuning.search has model.training_bits, which changes the start",
        ),
    ],
)
def test_what_can_t_be_compared_without_labels_is_refused(
    project: Path, changes: dict[str, Any], videos: int, message: str
) -> None:
    write_tiny_tuning(project, **changes)
    without_labels(project / "features.h5", videos)
    with pytest.raises(UserError, match=message) as raised:
        plan_tuning(load_params(), Path("features.h5"), "")
    assert "\n" not in str(raised.value)
