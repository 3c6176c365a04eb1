"""`make run`: bring everything up to date and say what came out."""

from __future__ import annotations

import sys

from flows.dvc import out_of_date
from flows.environment import prepare_environment, refuse_nested
from flows.report import short_report
from tasks.params import load_params


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
        print(short_report())
        return 0

    # Imported only now: nothing of it is needed to see that there is nothing to do.
    from flows.server import prefect_server

    print("starting a Prefect server for this run", flush=True)
    with prefect_server():
        from flows.pipeline import pipeline

        state = pipeline(one_by_one=False, return_state=True)
    if not state.is_completed():
        print(f"error: {state.message}", file=sys.stderr)
        return 2 if state.name == "Failed" else 1
    print(short_report())
    return 0


def train() -> int:
    """Run the flow as a schedule does: against the server of `PREFECT_API_URL`, or one for this run."""
    prepare_environment()
    refuse_nested()
    load_params()
    from flows.server import prefect_server

    with prefect_server():
        from flows.pipeline import main

        return main()
