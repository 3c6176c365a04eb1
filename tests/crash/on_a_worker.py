"""A training as a schedule starts it: a worker of the pool, and a run of the deployment that it takes.
Started in a project's folder.
"""

from __future__ import annotations

import sys

from flows.servers.deploy import deploy
from tasks.machine import programs


def main() -> int:
    """Start the worker and the run, and wait for the run; its exit status."""
    deploy()
    worker = programs.start([sys.executable, "-m", "flows.cli", "worker", "--pool", "gpu"], extra={})
    try:
        return programs.run(
            [sys.executable, "-m", "prefect", "deployment", "run", "pipeline/train", "--watch"], extra={}
        )
    finally:
        programs.stop(worker)


if __name__ == "__main__":
    sys.exit(main())
