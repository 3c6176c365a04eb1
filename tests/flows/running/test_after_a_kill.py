"""`ssvh run` after a kill that left something: processes, DVC's locks, a dvc.lock that is cut off."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tasks.pipeline import dvc_files
from tests.flows.conftest import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SECONDS = 300


def start_and_wait_for_the_stage(project: Project, *command: str, **extra: str) -> subprocess.Popen[str]:
    """Start a command whose first stage takes long, and wait until that is at work."""
    project.behave("first", "long")
    (project.folder / "epochs").write_text("100000")
    reached = project.folder / "reached"
    started = project.start(*command, **extra)
    until = time.monotonic() + SECONDS
    while not reached.exists():
        assert started.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    project.behave("first", "")
    return started


def below(process: psutil.Process, *words: str) -> psutil.Process:
    """The process with these words among its arguments that this one has started."""
    return next(one for one in process.children(recursive=True) if set(words) <= set(one.cmdline()))


@pytest.mark.parametrize(
    "survivor",
    [
        pytest.param("all the others", marks=pytest.mark.nightly),
        "the flow",
        pytest.param("dvc", marks=pytest.mark.nightly),
    ],
)
def test_run_typed_again_at_once_takes_over_from_one_that_was_killed(
    stub_project: Project, prefect_api: str, survivor: str
) -> None:
    first = start_and_wait_for_the_stage(stub_project, "flows.cli", "run", PREFECT_API_URL=prefect_api)
    tree = psutil.Process(first.pid).children(recursive=True)
    kept = {
        "all the others": tree,
        "the flow": [below(psutil.Process(first.pid), "flows.pipeline")],
        "dvc": [below(psutil.Process(first.pid), "dvc", "repro")],
    }[survivor]
    first.kill()
    for process in tree:
        if process not in kept and process.is_running():
            process.kill()
    status, output = stub_project.run("flows.cli", "run", PREFECT_API_URL=prefect_api)
    assert status == 0, output
    assert (stub_project.folder / "out/second").read_text() == "second 1"
    psutil.wait_procs(tree, timeout=SECONDS)
    assert not [one for one in tree if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def test_run_waits_for_a_dvc_that_was_typed_by_hand_and_says_so(
    stub_project: Project, prefect_api: str
) -> None:
    by_hand = start_and_wait_for_the_stage(stub_project, "dvc", "repro")
    (stub_project.folder / "epochs").write_text("100000")
    waiting = stub_project.start("flows.cli", "run", PREFECT_API_URL=prefect_api)
    assert waiting.stdout is not None
    said = ""
    for line in waiting.stdout:
        said += line
        if "is at work here; waiting until it ends" in line:
            break
    assert f"(process {by_hand.pid})" in said, said
    by_hand.send_signal(signal.SIGKILL)
    rest, _ = waiting.communicate(timeout=SECONDS)
    assert waiting.returncode == 0, said + rest


def held_by(pid: int) -> str:
    return json.dumps({"write": {"out/first": {"pid": pid, "cmd": "dvc repro"}}, "read": {}})


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(held_by(os.getpid()), id="by no DVC"),
        pytest.param(held_by(1), id="by the first process", marks=pytest.mark.nightly),
        pytest.param('{"write": {"out/fi', id="cut off"),
        pytest.param("", id="empty", marks=pytest.mark.nightly),
    ],
)
def test_what_killed_ones_hold_of_dvc_s_files_is_dropped(
    finished_stub_project: Project, prefect_api: str, content: str
) -> None:
    """Also where a process that is no DVC has the number by now, and where the file is cut off."""
    project = finished_stub_project
    (project.folder / dvc_files.HELD_FILES).write_text(content)
    project.change("epochs: 15", "epochs: 16")
    status, output = project.run("flows.pipeline", PREFECT_API_URL=prefect_api)
    assert status == 0, output
    assert "stub second has run" in output


@pytest.mark.parametrize(
    "share", [0, *(pytest.param(share, marks=pytest.mark.nightly) for share in (0.4, 0.8))]
)
def test_a_dvc_lock_that_is_cut_off_is_made_whole(
    finished_stub_project: Project, prefect_api: str, share: float
) -> None:
    """Whether DVC could read what is left or not, the last whole one is put back."""
    project = finished_stub_project
    lock = project.folder / "dvc.lock"
    whole = lock.read_bytes()
    left = whole[: int(share * len(whole))].rstrip()  # a buffer's end is hardly ever that of a line
    lock.write_bytes(left)
    status, output = project.run("flows.cli", "run", PREFECT_API_URL=prefect_api)
    assert status == 0, output
    assert lock.read_bytes() == whole
    assert "dvc.lock was cut off by a kill" in output
    assert (project.folder / dvc_files.CUT_OFF_LOCK).read_bytes() == left


def test_a_cut_off_lock_without_a_copy_is_made_anew(stub_project: Project, prefect_api: str) -> None:
    (stub_project.folder / "dvc.lock").write_text("schema: '2.0'\nstages:\n  first:\n    cm")
    status, output = stub_project.run("flows.pipeline", PREFECT_API_URL=prefect_api)
    assert status == 0, output
    assert Path(stub_project.folder / "out/second").exists()
