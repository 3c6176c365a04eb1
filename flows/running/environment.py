"""The environment in which the tools and the stages run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ssvh_model.errors import UserError
from tasks import paths
from tasks.machine.process_tree import end_orphans, end_with_root, name_root

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DVC_NO_ANALYTICS": "1",
    "GIT_PYTHON_REFRESH": "quiet",
    "PYTHONUNBUFFERED": "1",
}
# Seven processes of MLflow's server that judge answers of language models, half a minute of a core at every
# start.
NO_JOBS = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
# A Prefect server that is away is asked again for 4 minutes; by default for one.
PATIENT = {"PREFECT_CLIENT_MAX_RETRIES": "7"}

ONLY_LOOK = "--only-look"  # option of flows/watch.py: do not train


def prepare_environment() -> None:
    """Make this process and what it starts use this Python, the project's Prefect folder, and send nothing
    home.

    What it starts ends with it, also when it is killed; and what an earlier command that was killed has left
    is ended.
    """
    for name, value in {**QUIET, **NO_JOBS, **PATIENT}.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("PREFECT_HOME", str(paths.PREFECT_HOME.resolve()))
    # Stages are started as `python`; that has to be this one, whether or not its environment is activated.
    scripts = str(Path(sys.executable).parent)
    search = os.environ.get("PATH", "").split(os.pathsep)
    if search[:1] != [scripts]:
        os.environ["PATH"] = os.pathsep.join([scripts, *search])
    if name_root():
        end_orphans(_say)
    else:
        end_with_root()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def refuse_nested() -> None:
    """Reproducing the pipeline from within one of its stages would wait for itself.

    Raises:
        UserError: this process was started by a stage.
    """
    if stage := os.environ.get("DVC_STAGE"):
        raise UserError(
            f"DVC_STAGE is {stage!r}: this was started by a stage of the pipeline, which can't reproduce the pipeline itself"
        )
