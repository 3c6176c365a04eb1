"""What must hold when a command that was killed has been run again: nothing is left running, locked or
open.
"""

from __future__ import annotations

import fcntl
import json
import sqlite3
import time
import urllib.request
from collections.abc import Iterator

from tests.crash.beside import called_beside
from tests.crash.victims import Tree
from tests.projects import Project

SECONDS_TO_BE_GONE = 30
OPEN_STATES = ("RUNNING", "PENDING", "CANCELLING", "PAUSED")


def problems(project: Project, tree: Tree) -> Iterator[str]:
    """Each thing that is not as it should be, in a line."""
    until = time.monotonic() + SECONDS_TO_BE_GONE
    while (left := tree.processes()) and time.monotonic() < until:
        time.sleep(0.5)
    for process in left:
        yield f"process {process.pid} is left: {' '.join(process.cmdline())[:200]}"
    yield from _locks(project)
    yield from _open_runs(project)
    for path in (project.folder / ".unsent").glob("*"):
        yield f"{path.name}: records that were not sent"


def _locks(project: Project) -> Iterator[str]:
    for path in [*project.folder.glob(".work/**/*.lock"), *project.folder.glob("index/lock")]:
        with open(path, "a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield f"{path}: is locked"
    held = project.folder / ".dvc/tmp/rwlock"
    if held.is_file():
        content = json.loads(held.read_text())
        if any(content.get("write", {}).values()) or any(content.get("read", {}).values()):
            yield f"{held}: {content}"


def _open_runs(project: Project) -> Iterator[str]:
    if (project.folder / "mlflow.db").is_file():
        yield from called_beside(_open_in_mlflow, project)
    if _open_in_prefect(project):
        # The next server of the project closes them, before anybody can see them.
        project.run("tests.crash.look_at_prefect")
        yield from _open_in_prefect(project)


def _open_in_mlflow(project: Project) -> list[str]:
    client = project.client()
    experiments = [one.experiment_id for one in client.search_experiments()]
    return [
        f"MLflow run {run.info.run_id} ({run.info.run_name}) is open"
        for run in client.search_runs(experiments, max_results=1000)
        if run.info.status == "RUNNING"
    ]


def open_on(api: str) -> list[str]:
    """Flow and task runs that are open on a server, by name and state."""
    found = []
    for kind in ("flow_runs", "task_runs"):
        question = {kind: {"state": {"type": {"any_": OPEN_STATES}}}}
        request = urllib.request.Request(
            f"{api}/{kind}/filter", json.dumps(question).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            found += [f"{kind} {run['name']} is {run['state_type']}" for run in json.loads(response.read())]
    return found


def _open_in_prefect(project: Project) -> list[str]:
    database = project.folder / ".prefect/prefect.db"
    if not database.is_file():
        return []
    with sqlite3.connect(database) as connection:
        marks = ", ".join("?" * len(OPEN_STATES))
        return [
            f"Prefect's {table} {name} is {state}"
            for table in ("flow_run", "task_run")
            for name, state in connection.execute(
                f"SELECT name, state_type FROM {table} WHERE state_type IN ({marks})", OPEN_STATES
            )
        ]
