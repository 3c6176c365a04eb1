"""DVC from outside: what is out of date, and bringing it up to date."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ssvh_model.errors import UserError
from tasks import paths
from tasks.extraction.local_videos import check_local_videos
from tasks.extraction.remote_videos import check_remote_videos
from tasks.machine import programs
from tasks.pipeline.dvc_files import await_others, keep_lock, lock_is_cut_off, restore_lock
from tasks.pipeline.work import hold_work_lock
from tasks.project.code import write_code_files

DVC = (sys.executable, "-m", "dvc")


def out_of_date() -> set[str]:
    """Names of the stages whose parameters, inputs or outputs differ from the lock file. What follows them is
    not in it.

    Raises:
        UserError: DVC can't tell.
    """
    with reproducing():
        if lock_is_cut_off():
            restore_lock(_say)
        asked = _status()
        if asked.returncode != 0 and _lock_is_refused(asked.stderr):
            restore_lock(_say)
            asked = _status()
        if asked.returncode == 0:
            keep_lock()
    if asked.returncode != 0:
        reason = " ".join(asked.stderr.replace("ERROR:", "").split()) or f"exit status {asked.returncode}"
        raise UserError(f"dvc status: {reason}")
    return set(json.loads(asked.stdout or "{}"))


def _status() -> subprocess.CompletedProcess[str]:
    command = [*DVC, "--wait-for-lock", "status", "--json"]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)


def _lock_is_refused(said: str) -> bool:
    """True if DVC says of its lock file, and not of dvc.yaml, that it is of no valid form."""
    return f"{paths.LOCK}' is invalid" in said or f"{paths.LOCK}' validation failed" in said


def reproduce(stage: str) -> int:
    """Run one stage and what is out of date before it; returns DVC's exit status."""
    with reproducing():
        return programs.run([*DVC, "--wait-for-lock", "repro", stage], extra={})


@contextmanager
def reproducing() -> Iterator[None]:
    """Be the only process that reproduces something here; wait until no other one does.

    DVC waits for its own lock, which it does not hold while a stage runs; meanwhile it refuses to look at the
    stage's files.
    """

    def waiting(holder: str) -> None:
        _say(f"process {holder} is bringing this project up to date; waiting until it ends")

    with hold_work_lock("reproduce", waiting):
        await_others(_say)
        write_code_files(_say)
        check_local_videos()
        check_remote_videos()
        yield


def _say(text: str) -> None:
    print(text, flush=True)
