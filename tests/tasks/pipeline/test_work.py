"""Work folders: found again for the same inputs, new for others, gone only when DVC has the results."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tasks.params.reading import read_yaml
from tasks.pipeline.definition import Definition, read_definitions
from tasks.pipeline.work import Work, only_one, open_work, remove_committed_work, work_key

ROOT = Path(__file__).resolve().parents[3]


def stage(name: str = "warmup") -> tuple[Definition, dict[str, Any]]:
    return {one.name: one for one in read_definitions()}[name], read_yaml(Path("params.yaml"))


def lock_file(**digests: str) -> None:
    outs = ", ".join(
        f"{{path: {path.replace('__', '/')}, md5: {digest}}}" for path, digest in digests.items()
    )
    Path("dvc.lock").write_text(f"schema: '2.0'\nstages:\n  all:\n    cmd: 'true'\n    outs: [{outs}]\n")


def test_the_same_inputs_find_the_same_folder(project: Path) -> None:
    work = open_work(*stage())
    (work.folder / "checkpoint").write_text("half way")
    assert (open_work(*stage()).folder / "checkpoint").read_text() == "half way"


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("epochs: 2", "epochs: 3", {"warmup"}),
        ("seed: 1", "seed: 2", {"warmup", "p2set@1", "p2set@2"}),
        ("clusters: [7]", "clusters: [8]", {"p2set@2", "evaluate"}),
    ],
)
def test_a_parameter_concerns_the_stages_that_depend_on_it(
    project: Path, old: str, new: str, changes: set[str]
) -> None:
    names = ["warmup", "p2set@1", "p2set@2", "evaluate"]
    before = {name: work_key(*stage(name)) for name in names}
    params = project / "params.yaml"
    params.write_text(params.read_text().replace(old, new))
    after = {name: work_key(*stage(name)) for name in names}
    assert {name for name in names if before[name] != after[name]} == changes


def test_code_and_what_earlier_stages_made_change_the_key(project: Path) -> None:
    lock_file(states__warmup="a1")
    keys = [work_key(*stage("p2set@1"))]
    lock_file(states__warmup="a2")
    keys.append(work_key(*stage("p2set@1")))
    (project / "code/one.py").write_text("x = 2\n")
    keys.append(work_key(*stage("p2set@1")))
    (project / "code/__pycache__").mkdir()
    (project / "code/__pycache__/one.pyc").write_bytes(b"1")
    keys.append(work_key(*stage("p2set@1")))
    assert len(set(keys)) == 3
    assert keys[2] == keys[3]


def test_publishing_replaces_what_is_there(project: Path) -> None:
    work = open_work(*stage())
    done = work.folder / "last"
    done.mkdir()
    (done / "model").write_text("new")
    old = project / "states/warmup"
    old.mkdir(parents=True)
    (old / "model").write_text("old")
    (old / "left over").write_text("old")
    work.publish({Path("states/warmup"): done})
    assert [file.name for file in old.iterdir()] == ["model"]
    assert (old / "model").read_text() == "new"
    assert [file.name for file in (project / "states").iterdir()] == ["warmup"]


def test_what_was_published_outlives_the_removal_of_the_output(project: Path) -> None:
    """DVC removes outputs before it runs a stage again, which it does if it was killed before its lock file
    was written.
    """
    work = open_work(*stage())
    (work.folder / "model").write_text("trained")
    for _ in range(2):
        work.publish({Path("states/model"): work.folder / "model"})
        assert Path("states/model").read_text() == "trained"
        Path("states/model").unlink()
    assert (work.folder / "model").read_text() == "trained"


def test_work_goes_when_dvc_has_the_result_and_not_before(project: Path) -> None:
    work = open_work(*stage())
    record = Path("runs/warmup.json")
    record.parent.mkdir()
    record.write_text("{}")
    work.note_published(record)
    remove_committed_work()
    assert work.folder.is_dir()
    lock_file(runs__warmup="0" * 32)
    remove_committed_work()
    assert work.folder.is_dir()
    lock_file(**{"runs__warmup.json": "99914b932bd37a50b983c5e7c90ae93b"})  # md5 of "{}"
    remove_committed_work()
    assert not work.folder.exists()


def test_unfinished_work_stays(project: Path) -> None:
    work = open_work(*stage())
    lock_file(**{"runs__warmup.json": "99914b932bd37a50b983c5e7c90ae93b"})
    remove_committed_work()
    assert work.folder.is_dir()


def test_a_finished_stage_removes_the_leftovers_of_other_inputs(project: Path) -> None:
    leftover = Work(Path(".work/warmup/0123456789abcdef"))
    leftover.folder.mkdir(parents=True)
    work = open_work(*stage())
    Path("runs").mkdir()
    Path("runs/warmup.json").write_text("{}")
    work.note_published(Path("runs/warmup.json"))
    assert not leftover.folder.exists()
    assert work.folder.is_dir()


HOLD = """
import sys, time
from tasks.pipeline.work import only_one
with only_one("warmup", print):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_run_waits_says_so_and_goes_on_when_the_first_is_killed(project: Path) -> None:
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        said: list[str] = []

        def say(text: str) -> None:
            said.append(text)
            first.send_signal(signal.SIGKILL)

        began = time.monotonic()
        with only_one("warmup", say):
            assert time.monotonic() - began < 200
        assert len(said) == 1
        assert str(first.pid) in said[0]
    finally:
        first.kill()
        first.wait()


WRITE = """
import os, signal
from pathlib import Path
from ssvh_model.files import atomic_path
with atomic_path(Path("{path}")) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_stage_left_half_written_is_not_published(project: Path) -> None:
    """DVC would take it for a part of the result: the digest would tell a killed run from another."""
    work = open_work(*stage())
    done = work.folder / "pictures"
    (done / "deep").mkdir(parents=True)
    (done / "deep/whole.txt").write_text("whole")
    for path in ("first.png", "deep/second.png"):
        subprocess.run(
            [sys.executable, "-c", WRITE.format(path=done / path)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
        )
    assert len(list(done.rglob(".*"))) == 2
    work.publish({Path("pictures"): done})
    assert [path for path in Path("pictures").rglob("*") if path.is_file()] == [
        Path("pictures/deep/whole.txt")
    ]
    assert not list(Path("pictures").rglob(".*"))

    # Elsewhere, as in MLflow, whole folders go, too; where processes share work, each removes what is its
    # own.
    shared = work.folder / "features/shards"
    shared.mkdir(parents=True)
    (shared.parent / "locks").mkdir()
    subprocess.run(
        [sys.executable, "-c", WRITE.format(path=shared / "000001.h5")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    work.remove_leftovers()
    assert not list(done.rglob(".*")) and len(list(shared.iterdir())) == 1
