"""Tuning through a work pool, over PostgreSQL; then the pipeline makes the best trial's weights again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tasks.params.load import load_params
from tests.postgresql import PostgreSQL
from tests.projects import Project
from tests.tasks.tuning.small import SPACE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def test_what_a_pool_s_workers_found_is_what_the_pipeline_trains(
    clone: Callable[[], Project], prefect_api: str, postgresql: PostgreSQL
) -> None:
    project = clone()
    project.environment |= {
        "PREFECT_API_URL": prefect_api,
        "OPTUNA_STORAGE": postgresql.create("pool"),
    }
    project.set(
        # Not what the clone's pipeline has run: whichever trial wins, its rounds are still to be trained.
        rounds={"1": {"after": "warmup", "clusters": [4], "epochs": 4, "refresh_every": 2}},
        tuning__trials=4,
        tuning__search=["losses.beta", "rounds"],
        tuning__space={name: SPACE[name] for name in ("losses.beta", "rounds")},
        tuning__heartbeat=5,
    )
    before = project.json("metrics/evaluation.json")
    project.run("flows.cli", "deploy")
    worker = project.start("flows.cli", "worker", "--pool", "cpu")
    try:
        output = project.run("flows.cli", "tune", "--pool", "cpu", "--workers", "2", "--apply")
    finally:
        os.killpg(worker.pid, signal.SIGINT)
        worker.communicate(timeout=300)
    assert "the best of 4 trials" in output and "params.yaml:" in output

    (study,) = (project.folder / "results/tuning").iterdir()
    best = project.json(f"results/tuning/{study.name}/table.json")["best"]
    params = load_params(project.folder / "params.yaml")
    assert params.losses.beta == best["changes"]["losses.beta"]
    assert {key: one.model_dump(mode="json") for key, one in params.rounds.items()} == best["changes"][
        "rounds"
    ]
    (parent,) = [
        run
        for run in project.client().search_runs(["1"], f"tags.`ssvh.study` = '{study.name}'")
        if run.info.status == "FINISHED"
    ]
    trained = project.folder / ".work/experiments" / parent.data.tags["ssvh.best_training"] / "state"

    output = project.run("dvc", "repro")
    assert "Running stage 'warmup'" not in output and "Running stage 'p2set@1'" in output
    last = len(best["changes"]["rounds"])
    weights = project.folder / f"states/round-{last}/model.safetensors"
    assert weights.read_bytes() == (trained / "model.safetensors").read_bytes()
    assert project.json("metrics/evaluation.json") != before
