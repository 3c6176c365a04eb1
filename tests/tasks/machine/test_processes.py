"""A stage must not outlive the pipeline that wants it, and must know which pipeline that is."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tasks.machine.processes import Started, pipeline_process

ROOT = Path(__file__).resolve().parents[3]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}

STAGE = """
import os, subprocess, sys, time
from tasks.machine.processes import end_with, pipeline_process, terminate_as_interrupt, kill_children
terminate_as_interrupt()
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
starter = pipeline_process()
print(os.getpid(), worker.pid, starter.pid, flush=True)
try:
    end_with(starter, print, every=0.1)
    time.sleep(600)
except KeyboardInterrupt:
    kill_children()
    open("closed", "w").close()
    sys.exit(130)
"""


def gone(pid: int, patience: float = 120) -> bool:
    until = time.monotonic() + patience
    while time.monotonic() < until:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def test_a_stage_ends_with_its_workers_when_dvc_is_killed(tmp_path: Path) -> None:
    (tmp_path / "stage.py").write_text(STAGE)
    # Like DVC's: a process called dvc, a shell that it starts, and the stage below that.
    (tmp_path / "dvc").write_text(
        "import subprocess, sys\nsubprocess.run(['sh', '-c', f'{sys.executable} stage.py; true'])\n"
    )
    dvc = subprocess.Popen(
        [sys.executable, "dvc"], cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    assert dvc.stdout is not None
    stage, worker, starter = map(int, dvc.stdout.readline().split())
    assert starter == dvc.pid
    dvc.kill()
    dvc.wait()
    assert gone(stage)
    assert gone(worker)
    assert (tmp_path / "closed").exists(), "the stage must get the chance to close its record"


def test_no_pipeline_process_here() -> None:
    assert pipeline_process() is None


def test_a_process_is_told_from_a_later_one_of_the_same_number() -> None:
    this = Started.this()
    assert this.alive()
    assert not Started(this.pid, this.started - 100).alive()
