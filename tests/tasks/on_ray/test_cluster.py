"""What is asked of a cluster, and what is said where there is none."""

from __future__ import annotations

import socket

import pytest

from ssvh_model.errors import UserError
from tasks.machine.errors import ServiceAway
from tasks.on_ray import cluster
from tasks.on_ray.cluster import Room, TaskSize, room_for, size_of_tasks


def test_ray_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"the package ray is not installed: pip install 'autossvh\[ray\]'"):
        cluster.check_cluster("auto")


def test_nothing_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "find_spec", lambda name: name)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ServiceAway, match=f"running.ray.address is {address}, where nothing answers"):
            cluster.check_cluster(address)
    with pytest.raises(ServiceAway, match=r"is here, where nothing answers .*; allowed are host:port"):
        cluster.check_cluster("here")


CPUS = [(0, 0), (16, 0), (3, 0), (4, 0)]  # CPUs and GPUs of each node
GPUS = [(8, 0), (96, 8), (32, 1)]


@pytest.mark.parametrize(
    ("nodes", "device", "workers", "size", "room"),
    [
        (CPUS, "auto", 0, TaskSize(3, 0), 5 + 1 + 1),
        (CPUS, "auto", 8, TaskSize(8, 0), 2),
        (CPUS, "auto", 32, TaskSize(32, 0), 0),
        ([(0, 0)], "auto", 0, TaskSize(4, 0), 0),
        (GPUS, "auto", 0, TaskSize(12, 1), 8 + 1),
        (GPUS, "cuda", 24, TaskSize(24, 1), 4 + 1),
        (GPUS, "cpu", 0, TaskSize(4, 0), 2 + 24 + 8),
    ],
)
def test_how_much_a_task_takes_and_how_many_there_is_room_for(
    nodes: list[tuple[int, int]],
    device: str,
    workers: int,
    size: TaskSize,
    room: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster, "_nodes", lambda: nodes)
    assert size_of_tasks(device, workers) == size
    assert room_for(size) == Room(len(nodes), room)


def test_a_cluster_without_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_nodes", lambda: CPUS)
    with pytest.raises(
        UserError, match="no node of the Ray cluster has a GPU; allowed here are auto and cpu"
    ):
        size_of_tasks("cuda", 0)
