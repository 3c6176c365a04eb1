"""A trial in its training and its record: one that is taken up again is stopped at no epoch that it passed before."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna import TrialPruned

from tasks.params.load import load_params
from tasks.records.prefect_run import PrefectIds
from tasks.records.store import Store
from tasks.tuning.plan import plan_tuning
from tasks.tuning.storage import ADDRESS_VARIABLE
from tasks.tuning.trial import CHANGES, NUMBER, run_trial
from tests.tasks.tuning.small import write_tiny_tuning

ROUNDS = {"1": {"after": "warmup", "clusters": [5], "epochs": 4, "refresh_every": 1}}


def test_a_trial_taken_up_again_is_stopped_at_no_epoch_that_it_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(ADDRESS_VARIABLE, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    write_tiny_tuning(tmp_path, rounds=ROUNDS)
    plan = plan_tuning(load_params(), Path("features.h5"), "")
    parent = Store().find_or_open(None, "tuning", parent=None, tags={}, parameters={})
    attributes = {CHANGES: plan.default_changes(), NUMBER: 0}
    ids = PrefectIds(flow_run="", task_run="")

    def killed_after_three(line: str) -> None:
        if line.startswith(f"epoch {plan.params.warmup.epochs + 3},"):
            raise KeyboardInterrupt

    begun = optuna.create_study(direction="maximize", pruner=optuna.pruners.NopPruner())
    begun.enqueue_trial(plan.space.nearest(plan.params), attributes)
    with pytest.raises(KeyboardInterrupt):
        run_trial(plan, begun.ask(), parent, ids, killed_after_three)

    # Meanwhile the others became better than this one ever was.
    again = optuna.create_study(direction="maximize", pruner=optuna.pruners.ThresholdPruner(lower=2.0))
    again.enqueue_trial(plan.space.nearest(plan.params), attributes)
    trial = again.ask()
    with pytest.raises(TrialPruned):
        run_trial(plan, trial, parent, ids, print)
    (child,) = Store().children(parent)
    logged = Store().client.get_metric_history(child.info.run_id, "validation_gmap")
    assert len(logged) == plan.params.warmup.epochs + 3
    assert again.trials[0].last_step == 3, (
        "the epochs that its record has, and its value, are those of Optuna"
    )
