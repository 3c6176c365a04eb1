"""The line that a command ends with, as the last that a person sees."""

from __future__ import annotations

import contextlib
import sys


def print_last(line: str) -> None:
    """Print a line to standard error after all that Prefect has to say in this process."""
    await_prefect()
    print(line, file=sys.stderr, flush=True)


def await_prefect() -> None:
    """Wait until Prefect has sent its events and logs, as it does anyway before the process ends; ctrl-C ends
    the waiting.

    Where the server is slow, Prefect says so meanwhile.
    """
    # A process that has not imported these has nothing to send.
    names = {"prefect.events.worker": "EventsWorker", "prefect.logging.handlers": "APILogWorker"}
    with contextlib.suppress(KeyboardInterrupt):
        for module, worker in names.items():
            if module in sys.modules:
                getattr(sys.modules[module], worker).drain_all()
