"""A Ray cluster that is there already: whether it answers, and how many tasks it has room for."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec

from ssvh_model.errors import UserError
from tasks import paths
from tasks.machine.errors import ServiceAway
from tasks.machine.threads import WAITING

AUTO = "auto"
SECONDS_TO_ANSWER = 10.0
MOST_CPUS = 4  # of a task, where the user does not say; so many decode for as many that run the network


@dataclass(frozen=True)
class TaskSize:
    """What a task takes of its node.

    Attributes:
        cpus: so many threads decode.
        gpus: 1 where the backbone runs on one.
    """

    cpus: int
    gpus: int


@dataclass(frozen=True)
class Room:
    """How many nodes a cluster has just now, and how many tasks they can run at once."""

    nodes: int
    tasks: int


@contextlib.contextmanager
def connected(address: str) -> Iterator[None]:
    """Be connected to a cluster. Whatever was begun within ends with the block, and with this process,
    however it ends.

    Args:
        address: host:port of its head, or "auto" for the cluster that this machine is in.

    Raises:
        UserError: Ray is not installed, or of another version than the cluster's.
        ServiceAway: there is no cluster.
    """
    if find_spec("ray") is None:
        raise UserError(
            f"{paths.PARAMS}: running.extraction is ray, and the package ray is not installed: pip install 'autossvh[ray]'"
        )
    if address != AUTO:
        _check_answer(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    import ssvh_model
    import tasks

    # Ray has SIGTERM end this process at once; here it closes first what is open.
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            # The nodes run this code, whatever they have.
            runtime_env={"py_modules": [ssvh_model, tasks], "env_vars": WAITING},
        )
    except (ConnectionError, TimeoutError) as error:
        raise ServiceAway(
            f"{paths.PARAMS}: running.ray.address is {address}, and this machine is in no such Ray cluster: "
            f"ray start --address HOST:PORT joins one ({_line(error)})"
        ) from error
    except RuntimeError as error:  # such as another version of Ray or Python
        raise UserError(f"{paths.PARAMS}: running.ray.address is {address}: {_line(error)}") from error
    try:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_sigterm)
        yield
    finally:
        ray.shutdown()


def check_cluster(address: str) -> None:
    """Connect to a cluster and leave it: better now than after what comes before the extraction.

    Raises:
        UserError, ServiceAway: as `connected`.
    """
    with connected(address):
        pass


def size_of_tasks(device: str, workers: int) -> TaskSize:
    """What tasks should take of the cluster that this process is connected to.

    Args:
        device: as `running.device`; "auto" is a GPU if a node has one.
        workers: CPUs of a task; 0 for what the smallest node has, at most `MOST_CPUS`, or the share of a GPU
            in its node's.

    Raises:
        UserError: "cuda", and no node has a GPU.
    """
    with_gpus = [(cpus, gpus) for cpus, gpus in _nodes() if gpus and cpus]
    if device == "cuda" and not with_gpus:
        raise UserError(
            f"{paths.PARAMS}: running.device is cuda, but no node of the Ray cluster has a GPU; allowed here are auto and cpu"
        )
    if with_gpus and device != "cpu":
        return TaskSize(workers or min(max(1, cpus // gpus) for cpus, gpus in with_gpus), 1)
    return TaskSize(workers or min([MOST_CPUS, *(cpus for cpus, _ in _nodes() if cpus)]), 0)


def room_for(size: TaskSize) -> Room:
    """How many tasks of that size there is room for, whatever runs just now."""
    nodes = _nodes()
    return Room(
        len(nodes),
        sum(min(cpus // size.cpus, gpus // size.gpus if size.gpus else cpus) for cpus, gpus in nodes),
    )


def _nodes() -> list[tuple[int, int]]:
    """CPUs and GPUs of each node that is alive."""
    import ray

    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [(int(resources.get("CPU", 0)), int(resources.get("GPU", 0))) for resources in alive]


def _check_answer(address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=SECONDS_TO_ANSWER).close()
    except (OSError, ValueError, OverflowError) as error:
        raise ServiceAway(
            f"{paths.PARAMS}: running.ray.address is {address}, where nothing answers ({_line(error)}); allowed are "
            "host:port of a cluster's head, and auto"
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
