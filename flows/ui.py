"""The pages of Prefect, MLflow and Optuna together."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack

from flows import children
from flows.environment import prepare_environment
from flows.server import HOST, free_port, prefect_server
from ssvh_model.errors import UserError
from tasks import paths
from tasks.services import answers
from tasks.tracking import tracking_uri

SECONDS_TO_START = 120.0


def ui() -> None:
    """Start the three servers on this machine, print their addresses, and end them with ctrl-C.

    Raises:
        UserError: one of them does not start; the message names its log.
    """
    prepare_environment()
    paths.WORK.mkdir(exist_ok=True)
    with ExitStack() as stack:
        mlflow = free_port(5000)
        optuna = free_port(8080)
        print("starting the pages of Prefect, MLflow and Optuna ...", flush=True)
        programs = {
            "MLflow": (mlflow, _mlflow(mlflow)),
            "Optuna": (optuna, _optuna(optuna)),
        }
        running: dict[str, subprocess.Popen[bytes]] = {}
        for name, (_, command) in programs.items():
            log = stack.enter_context(open(paths.WORK / f"{name.lower()}.log", "ab"))
            running[name] = children.start(command, extra={}, output=log)
            stack.callback(children.stop, running[name])
        prefect = stack.enter_context(prefect_server(preferred_port=4200))
        for name, (port, _) in programs.items():
            _wait(name, f"http://{HOST}:{port}", running[name])
        print(f"  Prefect  {prefect.removesuffix('/api')}")
        for name, (port, _) in programs.items():
            print(f"  {name:<8} http://{HOST}:{port}")
        print("ctrl-C ends them", flush=True)
        try:
            while all(process.poll() is None for process in running.values()):
                time.sleep(0.5)
        except KeyboardInterrupt:
            print("\nended")
            return
        ended = next(name for name, process in running.items() if process.poll() is not None)
        raise UserError(f"{ended} has ended; {paths.WORK / f'{ended.lower()}.log'} says why")


def _mlflow(port: int) -> list[str]:
    artifacts = ["--default-artifact-root", paths.MLFLOW_ARTIFACTS.resolve().as_uri()]
    where = ["--host", HOST, "--port", str(port), "--workers", "1"]
    return [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        tracking_uri(),
        *artifacts,
        *where,
    ]


def _optuna(port: int) -> list[str]:
    # The storage object makes the tables where there are none yet; given an address, the page would not. The address stays out of
    # the command, because it may hold a password.
    start = (
        "from optuna.storages import RDBStorage; from optuna_dashboard import run_server; "
        "from tasks.tuning_storage import storage_address; "
        f"run_server(RDBStorage(storage_address(), engine_kwargs={{'pool_pre_ping': True}}), host={HOST!r}, port={port})"
    )
    return [sys.executable, "-c", start]


def _wait(name: str, address: str, process: subprocess.Popen[bytes]) -> None:
    began = time.monotonic()
    while not answers(address):
        if process.poll() is not None or time.monotonic() - began > SECONDS_TO_START:
            raise UserError(f"{name} did not start; {paths.WORK / f'{name.lower()}.log'} says why")
        time.sleep(0.2)
