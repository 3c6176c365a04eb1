"""A training as a schedule starts it: a worker of the pool, and a run of the deployment that it takes. Started in a project's folder."""

from __future__ import annotations

import sys

from flows import children
from flows.deploy import deploy


def main() -> int:
    """Start the worker and the run, and wait for the run; its exit status."""
    deploy()
    worker = children.start([sys.executable, "-m", "flows.cli", "worker", "--pool", "gpu"], extra={})
    try:
        return children.run(
            [sys.executable, "-m", "prefect", "deployment", "run", "pipeline/train", "--watch"], extra={}
        )
    finally:
        children.stop(worker)


if __name__ == "__main__":
    sys.exit(main())
