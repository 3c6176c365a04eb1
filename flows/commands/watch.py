"""What the command watch does. Prefect is imported in the process that it starts."""

from __future__ import annotations

import sys

from flows.running.environment import ONLY_LOOK, prepare_environment, refuse_nested
from flows.servers.server import prefect_server
from tasks import paths
from tasks.machine import programs
from tasks.params.load import load_params


def start(*, only_look: bool) -> int:
    """Run the flow in a process of its own, which has sent all its logs when it ends, before the server does.

    Raises:
        UserError: this is no project's folder, a stage started it, or params.yaml is not in order.
    """
    prepare_environment()
    refuse_nested()
    paths.check_project_folder()
    load_params()
    with prefect_server():
        return programs.run(
            [sys.executable, "-m", "flows.watch", *([ONLY_LOOK] if only_look else [])], extra={}
        )
