"""The service of compose.yaml on this machine: its workers tune and train, the result is promoted and
searched.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from urllib.request import Request, urlopen

import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.objects import State

from flows.servers.server import HOST, free_port
from tasks.params.load import load_params
from tests.compose import Compose
from tests.postgresql import PostgreSQL
from tests.projects import Project
from tests.services import Service
from tests.tasks.tuning.small import SPACE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

SECONDS_TO_END = 600
SETTINGS = {
    "DATABASE_PASSWORD": "databasesecret",
    "OBJECTS_PASSWORD": "objectssecret",
    "SEARCH_TOKEN": "searchsecret",
}


def test_what_workers_found_is_trained_promoted_and_searched(
    clone: Callable[[], Project],
    prefect_postgresql: PostgreSQL,
    vector_server: PostgreSQL,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    # Two servers stand for the container's one, which has the extensions of both.
    for server in (prefect_postgresql, vector_server):
        server.create_user("autossvh")
    compose = Compose(
        SETTINGS,
        {
            "database:5432/videos": f"{HOST}:{vector_server.port}/videos",
            "database:5432": f"{HOST}:{prefect_postgresql.port}",
            "objects:7070": f"{HOST}:{free_port()}",
        },
    )
    project = clone()
    monkeypatch.chdir(project.folder)
    logs = tmp_path_factory.mktemp("logs")
    outside, project.environment = (
        project.environment,
        project.environment | compose.environment("worker-cpu"),
    )
    project.set(
        # Not what the clone's pipeline has run: whichever trial wins, its rounds are still to be trained.
        rounds={"1": {"after": "warmup", "clusters": [4], "epochs": 4, "refresh_every": 2}},
        tuning__trials=4,
        tuning__search=["losses.beta", "rounds"],
        tuning__space={name: SPACE[name] for name in ("losses.beta", "rounds")},
        tuning__heartbeat=5,
    )
    before = project.json("metrics/evaluation.json")

    def job(name: str) -> list[str]:
        command = compose.command(name)
        ended = subprocess.run(
            command,
            env=outside | compose.environment(name),
            capture_output=True,
            text=True,
            timeout=SECONDS_TO_END,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout.splitlines()

    with ExitStack() as stack:

        def begin(service: Service) -> Service:
            stack.callback(service.stop)
            service.begin()
            return service

        objects = compose.address("objects:7070")
        s3 = [sys.executable, "-m", "moto.server", "-H", HOST, "-p", objects.rpartition(":")[2]]
        begin(Service(s3, objects, logs / "objects")).await_answer()
        names = [f"database {name}" for name in ("prefect", "mlflow", "optuna", "videos")] + [
            "bucket autossvh"
        ]
        assert job("setup") == [f"{name}: made" for name in names]
        assert job("setup") == [f"{name}: there" for name in names]

        servers = [begin(compose.service(name, logs, outside)) for name in ("prefect", "mlflow", "optuna")]
        for server in servers:
            server.await_answer()
        ask = Request(f"{compose.address('mlflow:5000')}/api/2.0/mlflow/experiments/get?experiment_id=0")
        ask.add_header("Host", "mlflow:5000")  # as the other containers ask
        assert json.load(urlopen(ask))["experiment"]["name"] == "Default"
        assert any("created" in line for line in job("deploy"))
        for name in ("worker-cpu", "worker-gpu"):
            begin(compose.service(name, logs, outside))
        search = begin(compose.service("search", logs, outside))

        output = project.run("flows.cli", "tune", "--pool", "cpu", "--workers", "2", "--apply")
        assert "the best of 4 trials" in output and "params.yaml:" in output
        (study,) = (project.folder / "results/tuning").iterdir()
        best = project.json(f"results/tuning/{study.name}/table.json")["best"]
        params = load_params(project.folder / "params.yaml")
        assert params.losses.beta == best["changes"]["losses.beta"]
        rounds = {key: one.model_dump(mode="json") for key, one in params.rounds.items()}
        assert rounds == best["changes"]["rounds"]
        client = MlflowClient(compose.address("mlflow:5000"))
        (parent,) = [
            run
            for run in client.search_runs(["1"], f"tags.`ssvh.study` = '{study.name}'")
            if run.info.status == "FINISHED"
        ]
        trained = project.folder / ".work/experiments" / parent.data.tags["ssvh.best_training"] / "state"

        # What the schedule starts at night; the promotion follows by itself.
        project.run("prefect", "deployment", "run", "pipeline/train", "--watch")
        weights = project.folder / f"states/round-{len(rounds)}/model.safetensors"
        assert weights.read_bytes() == (trained / "model.safetensors").read_bytes()
        assert project.json("metrics/evaluation.json") != before
        state = promoted(f"{compose.address('prefect:4200')}/api")
        # Judged by figures of a training of seconds, which another processor may have otherwise.
        assert state.name in ("Promoted", "Kept"), state.message

        assert search.runs and "waiting" in search.log.read_text()
        hasher = "champion" if state.name == "Promoted" else "challenger"
        project.run("flows.cli", "index", "--hasher", hasher)
        search.await_answer()
        page = compose.address("search:8000")
        video = json.load(urlopen(f"{page}/videos"))["videos"][0]["id"]
        asked = Request(
            f"{page}/search", json.dumps({"id": video}).encode(), {"Content-Type": "application/json"}
        )
        assert json.load(urlopen(asked))["hits"]


def promoted(api: str) -> State:
    """How the flow run that promotes ended."""
    until = time.monotonic() + SECONDS_TO_END
    with SyncPrefectClient(api=api) as client:
        while True:
            runs = client.read_flow_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=["promotion"])))
            states = [run.state for run in runs if run.state is not None and run.state.is_final()]
            if states:
                return states[0]
            assert time.monotonic() < until, [run.state for run in runs]
            time.sleep(1)
