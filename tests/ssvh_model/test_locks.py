"""Locks between real processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ssvh_model.locks import hold_lock, lock_file, try_lock
from tests.conftest import REPOSITORY

HOLDER = """
import sys
from pathlib import Path
from ssvh_model.locks import hold_lock
with hold_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holding(path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_whoever_waits_is_told_for_whom_and_a_killed_holder_frees_it(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "lock"
    told: list[str] = []
    with holding(path) as holder:
        with try_lock(path) as mine:
            assert not mine
        with hold_lock(path, lambda pid: (told.append(pid), holder.kill())):  # type: ignore[func-returns-value]
            assert told == [str(holder.pid)]
    with try_lock(path) as mine:
        assert mine


def test_a_shared_lock_keeps_out_only_those_that_want_it_alone(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with open(path, "a") as one, open(path, "a") as two:
        assert lock_file(one, shared=True) and lock_file(two, shared=True, wait=False)
        with try_lock(path) as mine:
            assert not mine
    with try_lock(path) as mine:
        assert mine
