"""A process's folder for the time that it runs goes with it, or with the next one if it was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAM = """
import sys
from ssvh_model.scratch import scratch_folder
(scratch_folder() / "file").write_text("content")
assert scratch_folder().stat().st_mode & 0o777 == 0o700
print(scratch_folder(), flush=True)
sys.stdin.readline()
"""
Processes = list[subprocess.Popen[str]]


@pytest.fixture
def started() -> Iterator[Processes]:
    processes: Processes = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def folder_of(process: subprocess.Popen[str]) -> Path:
    assert process.stdout is not None
    return Path(process.stdout.readline().strip())


def start(temporary: Path, started: Processes) -> subprocess.Popen[str]:
    started.append(
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "TMPDIR": str(temporary)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    )
    return started[-1]


def test_it_goes_with_its_process_and_what_a_killed_one_left_with_the_next(
    tmp_path: Path, started: Processes
) -> None:
    (tmp_path / "ssvh-else").mkdir()  # nobody's: it has no lock
    killed, living = start(tmp_path, started), start(tmp_path, started)
    left, kept = folder_of(killed), folder_of(living)
    assert left.parent == kept.parent == tmp_path and left != kept
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert (left / "file").exists()

    after = start(tmp_path, started)
    assert folder_of(after).is_dir()
    assert not left.exists() and (kept / "file").exists()
    for process in (living, after):
        process.communicate("end\n", timeout=120)
    assert [path.name for path in tmp_path.iterdir()] == ["ssvh-else"]


def test_a_forked_process_has_its_own_and_leaves_its_parent_s(tmp_path: Path) -> None:
    program = """
import os
from ssvh_model.scratch import scratch_folder
mine = scratch_folder()
if not (child := os.fork()):
    assert scratch_folder() != mine
    raise SystemExit
assert os.waitpid(child, 0)[1] == 0
assert mine.is_dir() and mine == scratch_folder()
"""
    subprocess.run(
        [sys.executable, "-c", program], check=True, timeout=120, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    assert not [*tmp_path.iterdir()]
