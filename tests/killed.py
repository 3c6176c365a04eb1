"""Python programs that kill themselves at a chosen moment while they make a database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# SQLAlchemy tells of every statement, so the moment is the same one on every machine.
KILLER = """
import os, signal
from sqlalchemy import event
from sqlalchemy.engine import Engine

count = 0

@event.listens_for(Engine, "after_cursor_execute")
def count_statements(connection, cursor, statement, parameters, context, executemany):
    global count
    if statement.split(None, 1)[0].upper() in ("CREATE", "ALTER", "DROP", "INSERT", "UPDATE"):
        count += 1
        if {condition}:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def run_until(condition: str, program: str, folder: Path, **environment: str) -> None:
    """Run a program that is killed, by SIGKILL, as soon as a condition holds after one of its statements that
    change the database.

    Args:
        condition: Python, may use `count` of those statements and the last `statement`.
        program: Python.
        folder: where it runs.
        environment: more variables.
    """
    process = subprocess.run(
        [sys.executable, "-c", KILLER.format(condition=condition) + program],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert process.returncode == -signal.SIGKILL, f"it was not killed: {process.stdout[-2000:]}"
