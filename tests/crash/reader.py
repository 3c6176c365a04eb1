"""`ssvh search`, again and again, until it is asked to stop; it ends at the first search that does not
answer.
"""

from __future__ import annotations

import signal
import sys
import threading


def main(video: str) -> int:
    """Search for the neighbours of a video file in the index of the present folder. 0 if every search
    answered.
    """
    from flows.cli.app import app, exit_status

    asked_to_stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked_to_stop.set())
    answered = 0
    while not asked_to_stop.is_set():
        if (status := exit_status(lambda: app(["search", video], standalone_mode=True))) != 0:
            print(f"search {answered + 1} ended with status {status}", flush=True)
            return 1
        answered += 1
    print(f"{answered} searches answered", flush=True)
    return 0 if answered else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
