"""What the commands ablate, sensitivity and transfer do: start a flow in a process of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from flows.running.environment import prepare_environment, refuse_nested
from flows.servers.server import prefect_server
from tasks.experiments.ablation.variants import variants
from tasks.machine import programs
from tasks.params.load import load_params
from tasks.paths import check_project_folder


def start(module: str, settings: Mapping[str, Any]) -> int:
    """Run a flow's module in a process of its own, which has sent all its logs when it ends, before the
    server does.

    Raises:
        UserError: this is no project's folder, a stage started it, or params.yaml is not in order.
    """
    prepare_environment()
    refuse_nested()
    check_project_folder()
    variants(load_params())
    with prefect_server():
        return programs.run([sys.executable, "-m", module, json.dumps(settings)], extra={})
