"""A real MLflow server that is killed and started again in the middle of a promotion, and two promotions at
once.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from tests.proxy import Proxy
from tests.services import Service, mlflow_service
from tests.tasks.registry.registered import MODEL, register, save_hasher_that_is_blind, write_project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

LOG = f"{MODEL}-promotions"
SET_ALIAS = ("POST", "registered-models/alias")
CREATE_ENTRY = ("POST", "model-versions/create")
CLOSE_ENTRY = ("PATCH", "model-versions/update")


@dataclass
class World:
    """A project, its MLflow server and a proxy before it."""

    folder: Path
    server: Service
    proxy: Proxy
    client: Any
    starter: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    def register(self, name: str) -> str:
        return register(self.client, self.folder / name)

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start an `ssvh` command as a user would."""
        environment = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("PREFECT", "MLFLOW"))
            },
            "MLFLOW_TRACKING_URI": self.proxy.address,
            "PYTHONPATH": str(REPOSITORY),
            "PREFECT_HOME": str(self.folder / ".prefect"),
            "DO_NOT_TRACK": "1",
            "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
        }
        return subprocess.Popen(
            [sys.executable, "-m", "flows.cli", *command],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *command: str) -> tuple[int, str]:
        process = self.start(*command)
        output, _ = process.communicate(timeout=400)
        return process.returncode, output

    def stored(self, query: str) -> list[tuple[Any, ...]]:
        """What stands in the server's database, whether it runs or not."""
        connection = sqlite3.connect(f"file:{self.folder}/server.db?mode=ro", uri=True, timeout=20)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def champions(self) -> list[str]:
        rows = self.stored(
            f"select version from registered_model_aliases where name = '{MODEL}' and alias = 'champion'"
        )
        return [str(version) for (version,) in rows]

    def log(self) -> dict[int, tuple[str, str]]:
        """Entry -> its state and outcome."""
        rows = self.stored(f"select version, key, value from model_version_tags where name = '{LOG}'")
        tags: dict[int, dict[str, str]] = {}
        for version, key, value in rows:
            tags.setdefault(int(version), {})[key] = value
        return {
            version: (one["ssvh.state"], json.loads(one["ssvh.record"]).get("outcome", ""))
            for version, one in tags.items()
        }

    def restart(self) -> None:
        """Kill the server as a power cut would, and start it again."""
        self.server.kill()
        # From a thread that lives on: the server ends with the thread that started it.
        self.starter.submit(self.server.start).result()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A project in which version 1 is the champion, and a server for it."""
    folder = tmp_path_factory.mktemp("promotion-server")
    write_project(folder)
    for name, blind in (("fair", 4), ("good", 6), ("best", 8)):
        save_hasher_that_is_blind(folder / name, blind)
    from mlflow import MlflowClient

    # Makes the tables, which takes a while.
    MlflowClient(f"sqlite:///{folder}/server.db").search_experiments()
    server, address = mlflow_service(folder)
    proxy = Proxy(address)
    try:
        server.start()
        with proxy.serving():
            yield World(folder, server, proxy, MlflowClient(address))
    finally:
        server.stop()


@pytest.fixture(autouse=True)
def first_champion(world: World) -> None:
    """Every test begins with a champion that `good` and `best` beat."""
    version = world.register("fair")
    world.client.set_registered_model_alias(MODEL, "champion", version)


def watched(world: World, work: Callable[[], Any]) -> set[tuple[str, ...]]:
    """Every state of the champion's alias that was seen while `work` went on."""
    seen: set[tuple[str, ...]] = set()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.02):
            seen.add(tuple(world.champions()))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        work()
    finally:
        ended.set()
        thread.join()
    return seen | {tuple(world.champions())}


@pytest.mark.parametrize(
    ("when", "request_"),
    [
        pytest.param("after", CREATE_ENTRY, id="entry-made", marks=pytest.mark.nightly),
        pytest.param("before", SET_ALIAS, id="alias-not-moved"),
        pytest.param("after", SET_ALIAS, id="alias-moved", marks=pytest.mark.nightly),
        pytest.param("before", CLOSE_ENTRY, id="entry-not-closed", marks=pytest.mark.nightly),
    ],
)
def test_the_server_is_killed_in_the_middle_and_the_promotion_ends_with_one_champion(
    world: World, when: str, request_: tuple[str, str]
) -> None:
    (before,) = world.champions()
    version = world.register("good")
    world.proxy.on(when, *request_, world.restart)
    done: list[tuple[int, str]] = []
    seen = watched(world, lambda: done.append(world.run("promote")))
    assert done[0][0] == 0, done[0][1]
    assert world.proxy.waiting() == 0, "the server was killed"
    assert seen == {(before,), (version,)}, "one champion, at every moment"
    log = world.log()
    assert {state for state, _ in log.values()} == {"closed"}
    last = {outcome for number, (_, outcome) in log.items() if number >= max(log) - 1}
    assert "promoted" in last
    assert len(log) - len([one for one in log.values() if one[1] == "void"]) == len(
        [one for one in log.values() if one[1] == "promoted"]
    ), "one promotion, one entry"
    assert (
        world.client.get_model_version(MODEL, version).tags["ssvh.promotion.decision"]
        == f"version {version} promoted over version {before}"
    )


@pytest.mark.parametrize(
    "when", [pytest.param("before", marks=[pytest.mark.slow, pytest.mark.nightly]), "after"]
)
def test_a_promotion_that_is_killed_is_settled_by_the_next(world: World, when: str) -> None:
    (before,) = world.champions()
    version = world.register("good")
    started: list[subprocess.Popen[str]] = []
    world.proxy.on(when, *SET_ALIAS, lambda: started[0].send_signal(signal.SIGKILL))
    started.append(world.start("promote"))
    output, _ = started[0].communicate(timeout=300)
    assert started[0].returncode == -signal.SIGKILL, output
    assert world.champions() == [version if when == "after" else before]
    number = max(world.log())
    assert world.log()[number] == ("open", "promoting")

    status, output = world.run("promote")
    assert status == 0, output
    assert world.champions() == [version]
    assert world.log()[number] == ("closed", "promoted" if when == "after" else "abandoned")
    assert (
        world.client.get_model_version(MODEL, before).tags["ssvh.promotion.decision"]
        == f"version {version} promoted over version {before}"
    )


def test_of_two_promotions_at_once_one_wins_and_the_other_says_why_it_did_not(world: World) -> None:
    (before,) = world.champions()
    good, best = world.register("good"), world.register("best")
    second: list[tuple[int, str]] = []
    # The first one has measured and decided, and is about to move the alias.
    world.proxy.on("before", *SET_ALIAS, lambda: second.append(world.run("promote", best)), answer=True)
    seen = watched(world, lambda: second.append(world.run("promote", good)))
    (other_status, other_output), (status, output) = second
    assert status == 0, output
    assert other_status == 1, other_output
    assert f"version {best} not judged" in other_output
    assert "another one was first" in other_output and f"for version {good}" in other_output
    assert seen == {(before,), (good,)}
    assert world.run("promote", best)[0] == 0, "now it is its turn"
    assert world.champions() == [best]


@pytest.mark.parametrize("command", ["promote", "rollback", "models"])
def test_a_server_that_is_away_is_one_line_and_exit_status_2(world: World, command: str) -> None:
    champions = world.champions()
    address, world.proxy.address = world.proxy.address, "http://127.0.0.1:9"
    try:
        began = time.monotonic()
        status, output = world.run(command)
    finally:
        world.proxy.address = address
    assert status == 2
    assert output.startswith("error: MLflow at http://127.0.0.1:9 does not answer; the champion stays")
    assert len(output.splitlines()) == 1
    assert time.monotonic() - began < 250, "it does not try for minutes"
    assert world.champions() == champions
