"""Trainings of an experiment in this process: what they share, keep, record and go on from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.experiments import run as experiment_training
from tasks.experiments.ablation.report import finish_ablation, plan_ablation
from tasks.experiments.one_training import load_result
from tasks.experiments.plan import Plan
from tasks.experiments.record import is_finished, open_parent
from tasks.experiments.run import run_training
from tasks.experiments.sensitivity import finish_sensitivity, plan_sensitivity
from tasks.params.load import load_params
from tasks.params.sections import Params
from tasks.records.store import Store
from tasks.training.both_phases import train_rounds
from tests.tasks.experiments.small import write_tiny_features, write_tiny_params


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_mlflow: Path) -> Params:
    monkeypatch.chdir(tmp_path)
    shutil.copy(empty_mlflow, tmp_path / "mlflow.db")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    write_tiny_features(tmp_path / "features.h5")
    write_tiny_params(tmp_path / "params.yaml")
    return load_params()


def run_all(plan: Plan) -> tuple[Store, str]:
    store = Store()
    parent = open_parent(store, plan.folder, plan.kind, plan.parameters(), "")
    for training in plan.trainings():
        run_training(training, plan.folder, parent)
    return store, parent


class Killed(BaseException):
    """Stands for a kill at this moment."""


@pytest.mark.slow
def test_a_killed_training_goes_on_and_ends_as_if_nothing_had_been(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, listed = plan_ablation(params, Path("features.h5"), "validation", (1,), ("without-L_P2Set",))
    full, without = plan.trainings()
    store = Store()
    parent = open_parent(store, plan.folder, plan.kind, plan.parameters(), "")
    seen: list[int] = []

    def interrupted(*arguments: Any) -> Path:
        session, params, start, folder, on_epoch = arguments

        def until_fourth(row: dict[str, Any], seconds: float) -> None:
            on_epoch(row, seconds)
            seen.append(row["epoch"])
            if row["epoch"] == 4 and seconds:
                raise Killed

        return train_rounds(session, params, start, folder, until_fourth)

    monkeypatch.setattr("tasks.training.both_phases.train_rounds", interrupted)
    with pytest.raises(Killed):
        run_training(full, plan.folder, parent)
    assert load_result(full) is None and not is_finished(store, plan.folder, full)
    with pytest.raises(Killed):
        # Killed again at once: the fourth epoch is the last of its round, and was kept.
        monkeypatch.setattr(
            "tasks.training.both_phases.train_rounds", lambda *arguments: (_ for _ in ()).throw(Killed)
        )
        run_training(full, plan.folder, parent)
    monkeypatch.setattr("tasks.training.both_phases.train_rounds", train_rounds)
    run_training(full, plan.folder, parent)
    assert seen == [3, 4]
    run_training(without, plan.folder, parent)

    # One child a training, closed, with every epoch once and the parameters.
    children = {run.info.run_name: run for run in store.children(parent)}
    assert {name: run.info.status for name, run in children.items()} == {
        "full, seed 1": "FINISHED",
        "without-L_P2Set, seed 1": "FINISHED",
    }
    child = children["full, seed 1"]
    for name in ("loss", "epoch_seconds", "validation_gmap"):
        points = store.client.get_metric_history(child.info.run_id, name)
        assert sorted(point.step for point in points) == [1, 2, 3, 4, 5], name
    assert child.data.params["losses.beta"] == str(params.losses.beta)
    assert children["without-L_P2Set, seed 1"].data.params["losses.beta"] == "0.0"
    result = load_result(full)
    assert result is not None and child.data.metrics["gmap"] == result.gmap
    assert result.average_precision.shape == (20, 6) and result.record["n_query"] == 20
    assert [row["epoch"] for row in result.record["history"]] == [1, 2, 3, 4, 5]
    assert all(row["seconds"] > 0 for row in result.record["history"])
    other = load_result(without)
    assert other is not None
    assert "p2set" in result.record["history"][4] and "p2set" not in other.record["history"][4]
    assert other.record["history"][:2] == result.record["history"][:2], "the first phase is the same one"
    assert len(list(Path(".work/experiments").glob("warmup-*"))) == 1
    assert not list(full.work.glob("round-*")), "checkpoints go when the result is there"

    # Undisturbed, in another folder, it is the same.
    (tmp_path / "again").mkdir()
    for name in ("features.h5", "mlflow.db"):
        shutil.copy(tmp_path / name, tmp_path / "again")
    monkeypatch.chdir(tmp_path / "again")
    run_training(full, tmp_path / "again/folder", parent)
    again = load_result(full)
    assert again is not None
    np.testing.assert_array_equal(again.average_precision, result.average_precision)
    monkeypatch.chdir(tmp_path)

    ablation = finish_ablation(plan, listed, parent)
    content = json.loads((plan.folder / "table.json").read_text())
    assert set(content["variants"]) == {"full", "without-L_P2Set"}
    assert content["variants"]["full"]["gmap"] == [result.gmap]
    assert len(ablation.convergence) == 1
    files = {one.path for one in store.client.list_artifacts(parent)}
    assert files == {"table.json", "table.md", "bars.png"}


def test_a_training_without_checkpoints_on_the_way_keeps_its_seconds(params: Params) -> None:
    seldom = params.model_copy(
        update={"running": params.running.model_copy(update={"checkpoint_every": 100})}
    )
    plan, _ = plan_ablation(seldom, Path("features.h5"), "validation", (1,), ("full",))
    run_all(plan)
    result = load_result(plan.trainings()[0])
    assert result is not None
    assert [row["seconds"] > 0 for row in result.record["history"]] == [True] * 5


def test_a_result_that_is_there_is_not_trained_again_and_queries_need_no_new_training(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, _ = plan_ablation(params, Path("features.h5"), "validation", (1,), ("full",))
    run_all(plan)
    monkeypatch.setattr(
        "tasks.training.both_phases.train_warmup", lambda *arguments: pytest.fail("trained again")
    )
    monkeypatch.setattr(experiment_training, "train_phases", lambda *arguments: pytest.fail("trained again"))
    on_query, _ = plan_ablation(params, Path("features.h5"), "query", (1,), ("full",))
    assert on_query.folder != plan.folder
    run_all(on_query)
    first, second = (load_result(one.trainings()[0]) for one in (plan, on_query))
    assert first is not None and second is not None
    assert (first.record["n_database"], second.record["n_database"]) == (60, 80)

    # The same training in another experiment: it is recorded there, too, and not trained.
    trials, found = plan_sensitivity(params, Path("features.h5"), (1,))
    own = next(one for one in trials.trainings() if one.key == plan.trainings()[0].key)
    store = Store()
    parent = open_parent(store, trials.folder, trials.kind, trials.parameters(), "")
    run_training(own, trials.folder, parent)
    (child,) = store.children(parent)
    assert child.data.metrics["gmap"] == first.gmap
    assert len(store.client.get_metric_history(child.info.run_id, "loss")) == 5
    assert found.keys == ()


@pytest.mark.slow
def test_sensitivity_tries_each_value_beside_the_present_one_on_validation_videos(
    params: Params, tmp_path: Path
) -> None:
    write_tiny_params(
        tmp_path / "params.yaml",
        selection="end",
        training__learning_rate=0.001,  # so that codes of five epochs are not all those of the start
        sampler__mask_ratio=0.5,
        sensitivity__values={"sampler.noise": [1.0]},
        sensitivity__grid={"sampler.mask_ratio": [0.5], "sampler.noise": [0.1, 1.0]},
    )
    plan, trials = plan_sensitivity(load_params(), Path("features.h5"), (1, 2))
    assert plan.measure == "validation"
    assert len(plan.variants) == 4 and len(plan.trainings()) == 4, "the grid is at this file's own mask ratio"
    _, parent = run_all(plan)
    content = finish_sensitivity(plan, trials, parent)
    rows = content["values"]["sampler.noise"]
    assert [row["value"] for row in rows] == [0.1, 1.0] and content["present"] == {"sampler.noise": 0.1}
    assert all(len(row["gmap"]) == 2 and row["gmap_std"] is not None for row in rows)
    assert [(row["sampler.mask_ratio"], row["sampler.noise"]) for row in content["grid"]] == [
        (0.5, 0.1),
        (0.5, 1.0),
    ]
    assert [row["gmap"] for row in content["grid"]] == [row["gmap"] for row in rows]
    assert rows[0]["gmap"] != rows[1]["gmap"], "the noise reaches the training"
    for name in ("sampler.noise.png", "grid.png"):
        assert (plan.folder / name).read_bytes().startswith(b"\x89PNG")
    assert json.loads((plan.folder / "table.json").read_text()) == content
