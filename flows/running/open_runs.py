"""Closing what Prefect takes for running though its process was killed.

Through the web interface and not Prefect's client, which takes seconds to import.
"""

from __future__ import annotations

import json
import urllib.request
from typing import Any

OPEN_STATES = ("PENDING", "RUNNING", "CANCELLING")
CRASHED = {"type": "CRASHED", "name": "Crashed", "message": "its process was killed"}
KINDS = ("task_runs", "flow_runs")
SECONDS_TO_ANSWER = 30


def close_open_runs(api: str) -> int:
    """Mark all runs that are open as crashed, and return how many there were. For a server that has just been
    started.

    Args:
        api: address of the server, none of whose runs has a living process.

    Raises:
        OSError: it does not answer.
    """
    closed = 0
    for kind in KINDS:
        is_open = {kind: {"state": {"type": {"any_": OPEN_STATES}}}}
        while found := _ask(f"{api}/{kind}/filter", is_open):
            for run in found:
                _ask(f"{api}/{kind}/{run['id']}/set_state", {"state": CRASHED, "force": True})
            closed += len(found)
    return closed


def _ask(address: str, question: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        address, json.dumps(question).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=SECONDS_TO_ANSWER) as response:
        return json.loads(response.read())
