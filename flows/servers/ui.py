"""The pages of Prefect, MLflow and Optuna together."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack
from functools import partial

from flows.running.environment import prepare_environment
from flows.servers.server import HOST, free_port, prefect_server
from ssvh_model.errors import UserError
from tasks import paths
from tasks.machine import programs
from tasks.machine.services import answers, without_user
from tasks.records.databases import make_mlflow_database
from tasks.records.store import tracking_uri

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
        pages = {"MLflow": f"http://{HOST}:{mlflow}", "Optuna": f"http://{HOST}:{optuna}"}
        commands = {"Optuna": _optuna(optuna)}
        store = tracking_uri()
        if store.startswith(("http://", "https://")):
            pages["MLflow"] = without_user(store)  # a server has its own pages
        else:
            make_mlflow_database(store, partial(print, flush=True))
            commands["MLflow"] = _mlflow(mlflow)
        running: dict[str, subprocess.Popen[bytes]] = {}
        for name, command in commands.items():
            log = stack.enter_context(open(paths.WORK / f"{name.lower()}.log", "ab"))
            # By a variable, because every user of the machine can read a command, and an address may hold a
            # password.
            running[name] = programs.start(command, extra={"MLFLOW_BACKEND_STORE_URI": store}, output=log)
            stack.callback(programs.stop, running[name])
        prefect = stack.enter_context(prefect_server(preferred_port=4200))
        for name, process in running.items():
            _wait(name, pages[name], process)
        print(f"  Prefect  {without_user(prefect).removesuffix('/api')}")
        for name, page in pages.items():
            print(f"  {name:<8} {page}")
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
    return [sys.executable, "-m", "mlflow", "server", *artifacts, *where]


def _optuna(port: int) -> list[str]:
    return [sys.executable, "-m", "flows.servers.optuna_page", "--host", HOST, "--port", str(port)]


def _wait(name: str, address: str, process: subprocess.Popen[bytes]) -> None:
    began = time.monotonic()
    while not answers(address):
        if process.poll() is not None or time.monotonic() - began > SECONDS_TO_START:
            raise UserError(f"{name} did not start; {paths.WORK / f'{name.lower()}.log'} says why")
        time.sleep(0.2)
