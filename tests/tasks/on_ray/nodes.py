"""A Ray cluster of real nodes on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from tests.services import s3_service

SECONDS = 300  # for what a cluster does by itself, on a busy machine
MEMORY = 100 << 20  # bytes of a node's object store


class NodesOnThisMachine:
    """A head that runs no tasks, and nodes that can be killed.

    Attributes:
        address: of the head.
    """

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "object_store_memory": MEMORY, "include_dashboard": False},
        )
        self._nodes: list[Any] = []
        self.address: str = self._cluster.address

    def set_nodes(self, count: int) -> None:
        """Have so many nodes with a CPU each."""
        while len(self._nodes) > count:
            self.kill_node()
        while len(self._nodes) < count:
            self._nodes.append(self._cluster.add_node(num_cpus=1, object_store_memory=MEMORY))
        self._cluster.wait_for_nodes(timeout=SECONDS)

    def kill_node(self) -> None:
        self._cluster.remove_node(self._nodes.pop(), allow_graceful=False)

    def running(self) -> int:
        """How many tasks the nodes are at."""
        raylets = [node.all_processes["raylet"][0].process.pid for node in self._nodes]
        found = 0
        for raylet in raylets:
            for process in psutil.Process(raylet).children(recursive=True):
                try:
                    found += process.cmdline()[:1] in (["ray::extract"], ["ray::encode"])
                except psutil.Error:
                    continue
        return found

    def shutdown(self) -> None:
        self._cluster.shutdown()


@pytest.fixture(scope="session")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an S3 server, which is in the environment, where s3fs looks for it, too."""
    server, address = s3_service(tmp_path_factory.mktemp("s3"))
    given = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as environment:
        for name, value in given.items():
            environment.setenv(name, value)
        try:
            server.start()
            yield address
        finally:
            server.stop()


@pytest.fixture(scope="session")
def started(objects: str) -> Iterator[NodesOnThisMachine]:
    """Its nodes know the S3 server."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
        environment.setenv("RAY_worker_niceness", "0")  # else whatever runs beside goes first
        nodes = NodesOnThisMachine()
        try:
            yield nodes
        finally:
            nodes.shutdown()


@pytest.fixture
def cluster(started: NodesOnThisMachine) -> NodesOnThisMachine:
    """Two nodes with a CPU each."""
    started.set_nodes(2)
    return started


def await_true(what: Callable[[], object]) -> None:
    until = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < until
        time.sleep(0.05)
