"""benchmarks/quality.py from outside."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.conftest import REPOSITORY
from tests.tasks.experiments.small import write_tiny_features, write_tiny_params

pytestmark = pytest.mark.timeout(700)


def wait_until(happened: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + 300
    while not happened():
        assert time.monotonic() < until, what
        time.sleep(0.1)


@pytest.mark.slow
def test_its_workers_end_when_it_is_killed_and_leave_nothing(tmp_path: Path) -> None:
    write_tiny_features(tmp_path / "features.h5")
    write_tiny_params(tmp_path / "params.yaml", warmup__epochs=100_000)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    script = [str(REPOSITORY / "benchmarks/quality.py"), "--features", "features.h5", "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, *script, "--bits", "16", "--seeds", "1", "2", "--name", "killed"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(temporary)},
    )
    started: list[psutil.Process] = []
    try:

        def training() -> bool:
            assert process.poll() is None
            return len({path.parents[1] for path in temporary.glob("*/warmup/epoch-*")}) == 2

        wait_until(training, "no two trainings")
        started = psutil.Process(process.pid).children(recursive=True)
        assert len(started) >= 2
        process.kill()
        process.wait()
        _, left = psutil.wait_procs(started, timeout=250)
        assert not left, [one.cmdline() for one in left]
        assert not list(temporary.glob("*/warmup"))
    finally:
        process.kill()
        for one in started:
            if one.is_running():
                one.kill()
