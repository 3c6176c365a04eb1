"""`ssvh worker`: Prefect workers on this machine, one for each GPU."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound

from flows.running.environment import prepare_environment
from flows.servers.deploy import server_address
from ssvh_model.errors import UserError
from tasks.machine import programs
from tasks.machine.processes import terminate_as_interrupt
from tasks.machine.services import without_passwords
from tasks.paths import check_project_folder

PROJECT_VARIABLE = "SSVH_PROJECT"  # prefect.yaml: the folder in which runs begin
SECONDS_THAT_COUNT = 30.0  # a worker that ends sooner has not even started
SECONDS_TO_END = 20.0


def work(pool: str, gpus: list[str]) -> None:
    """Start the workers and keep them up until ctrl-C or SIGTERM, which ends them and their runs.

    A worker that ends by itself is started again.

    Args:
        pool: a work pool of type process.
        gpus: as CUDA names them, such as "0" or a UUID; a worker each. None: one worker that sees no GPU.

    Raises:
        UserError: no server, no such pool, a GPU named twice, or a worker that does not start.
    """
    prepare_environment()
    check_project_folder()
    address = server_address()
    if twice := [gpu for gpu in gpus if gpus.count(gpu) > 1]:
        raise UserError(f"--gpus names {twice[0]} twice; allowed is every GPU once, one worker has it alone")
    _check_pool(pool)
    terminate_as_interrupt()
    host = socket.gethostname()
    devices = {f"{host}-{pool}-{gpu}": gpu for gpu in gpus} or {f"{host}-{pool}": ""}
    with _ended_with_this() as running:
        for name, gpu in devices.items():
            running[name] = _start(pool, name, gpu)
            print(f"worker {name}: {f'GPU {gpu}' if gpu else 'no GPU'}, one run at a time", flush=True)
        print(
            f"they take runs from work pool {pool} of {without_passwords(address)}; ctrl-C ends them",
            flush=True,
        )
        try:
            _keep_up(running, pool, devices)
        except KeyboardInterrupt:
            print("\nending the workers and their runs", flush=True)


def _keep_up(running: dict[str, subprocess.Popen[bytes]], pool: str, devices: dict[str, str]) -> None:
    """Start workers that end again, for ever."""
    began = dict.fromkeys(devices, time.monotonic())
    while True:
        time.sleep(0.5)
        for name, process in list(running.items()):
            if (status := process.poll()) is None:
                continue
            if time.monotonic() - began[name] < SECONDS_THAT_COUNT:
                raise UserError(
                    f"worker {name} ended at once, with status {status}; what it said stands above"
                )
            print(f"worker {name} ended with status {status}; starting it again", flush=True)
            running[name], began[name] = _start(pool, name, devices[name]), time.monotonic()


def _check_pool(pool: str) -> None:
    with get_client(sync_client=True) as client:
        try:
            kind = client.read_work_pool(pool).type
        except ObjectNotFound:
            raise UserError(
                f"--pool {pool}: the server has no such work pool; `make deploy` makes cpu and gpu"
            ) from None
    if kind != "process":
        raise UserError(
            f"--pool {pool} is of type {kind}; allowed is process, others are served by `prefect worker start`"
        )


def _start(pool: str, name: str, gpu: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "prefect", "worker", "start", "--install-policy", "never"]
    options = {"--pool": pool, "--type": "process", "--name": name, "--limit": "1"}
    environment = {
        PROJECT_VARIABLE: str(Path.cwd()),
        "CUDA_VISIBLE_DEVICES": gpu,
        "CUDA_DEVICE_ORDER": os.environ.get(
            "CUDA_DEVICE_ORDER", "PCI_BUS_ID"
        ),  # the numbers that nvidia-smi shows
    }
    return programs.start([*command, *itertools.chain(*options.items())], extra=environment)


@contextmanager
def _ended_with_this() -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Workers that are ended when the block is left, with every process of their runs."""
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        yield running
    finally:
        everything = psutil.Process().children(recursive=True)
        # Runs first, and politely, so that they close their records; a worker waits for its run.
        for worker in [
            process for process in everything if process.pid in {one.pid for one in running.values()}
        ]:
            with contextlib.suppress(psutil.Error):
                for run in worker.children():
                    run.terminate()
        workers = {process.pid for process in running.values()}
        psutil.wait_procs([process for process in everything if process.pid not in workers], SECONDS_TO_END)
        for process in running.values():
            programs.stop(process)
        for process in everything:
            with contextlib.suppress(psutil.Error):
                process.kill()
