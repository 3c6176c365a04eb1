"""Optuna's pages: `python -m flows.servers.optuna_page --host 127.0.0.1 --port 8080`."""

from __future__ import annotations

import argparse

from optuna_dashboard import run_server

from tasks.tuning.storage import open_for_reading


def main() -> None:
    """Serve the pages of the storage that `OPTUNA_STORAGE` names.

    The storage makes its tables where there are none yet; `optuna-dashboard` would not. Its address is not
    among the options, because it may hold a password, and every user of the machine can read a command.
    """
    options = argparse.ArgumentParser()
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--port", type=int, default=8080)
    given = options.parse_args()
    run_server(open_for_reading(), host=given.host, port=given.port)


if __name__ == "__main__":
    main()
