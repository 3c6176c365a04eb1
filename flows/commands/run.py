"""`make run`: bring everything up to date and say what came out."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

from flows.commands.report import short_report
from flows.running.environment import prepare_environment, refuse_nested
from flows.running.reproduce import out_of_date
from flows.servers.server import prefect_server
from tasks.machine import programs
from tasks.params.load import load_params
from tasks.records.parents import put_right
from tasks.records.store import make_tables


def run() -> int:
    """Run what is out of date under a Prefect server and print the report. Returns the exit status.

    Raises:
        UserError: the parameters, or the way this was started.
    """
    prepare_environment()
    refuse_nested()
    load_params()
    if not out_of_date():
        print("nothing to do: everything is up to date with params.yaml, the code and the videos")
        put_right()
        print(short_report())
        return 0

    status = _flow()
    if status == 0:
        print(short_report())
    return status


def train() -> int:
    """Run the flow as a schedule does: against the server of `PREFECT_API_URL`, or one for this run."""
    prepare_environment()
    refuse_nested()
    load_params()
    return _flow()


def _flow() -> int:
    """Run the flow in a process of its own, which has sent all its logs when it ends, before the server
    does.
    """
    with ThreadPoolExecutor(max_workers=1) as pool:
        # In a new project, Prefect and MLflow make their tables at the same time, for some ten seconds each.
        made = pool.submit(make_tables)
        with prefect_server():
            made.result()
            return programs.run([sys.executable, "-m", "flows.pipeline"], extra={})
