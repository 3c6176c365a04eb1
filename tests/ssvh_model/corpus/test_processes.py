"""Work in processes: everything gets done, a death is told, and nobody outlives the parent."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path

import pytest

from ssvh_model.corpus.processes import WorkerDied, in_processes

REPOSITORY = Path(__file__).resolve().parents[3]


def test_all_jobs_are_done_and_read_only_as_needed() -> None:
    read: list[int] = []

    def jobs() -> Iterator[int]:
        for number in count(1):
            read.append(number)
            yield -number

    done = list(islice(in_processes(abs, jobs(), workers=2), 5))
    assert len(set(done)) == 5 and set(done) <= set(range(1, 8))
    assert len(read) <= 8
    assert sorted(in_processes(abs, [-3, -1, -2], workers=2)) == [1, 2, 3]


def test_a_death_names_the_job() -> None:
    with pytest.raises(WorkerDied) as caught:
        list(in_processes(os._exit, [3], workers=1))
    assert caught.value.jobs == [3]


def test_an_exception_comes_through() -> None:
    with pytest.raises(ValueError, match=r"math|nonnegative"):
        list(in_processes(math.sqrt, [-1.0], workers=1))


def test_workers_end_when_their_parent_is_killed() -> None:
    code = """if __name__ == "__main__":
    import time
    from ssvh_model.corpus.processes import in_processes
    list(in_processes(time.sleep, [0.01, 600, 600], workers=2))"""
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        start_new_session=True,
    )

    def others() -> list[int]:
        """Living processes of the parent's session other than itself."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            except OSError:
                continue
            if int(session) == parent.pid and int(folder.name) != parent.pid and state != "Z":
                found.append(int(folder.name))
        return found

    try:
        wait_until(lambda: len(others()) >= 2)
        time.sleep(0.5)  # until the workers watch
        parent.kill()
        parent.wait()
        wait_until(lambda: not others())
    finally:
        parent.kill()
        for process in others():
            os.kill(process, signal.SIGKILL)


def wait_until(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
