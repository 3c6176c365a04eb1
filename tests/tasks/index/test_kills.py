"""Commands on an index that are killed: the same command, typed again, ends well and leaves what an
undisturbed one leaves.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from flows.cli.app import app, exit_status
from ssvh_model.features import FeatureMeta, write_feature_file
from ssvh_model.video.backbones import load_backbone
from ssvh_model.video.encoding import write_video
from tests.conftest import REPOSITORY
from tests.hashers import write_hasher

MOMENTS = 5  # of each command, drawn anew; all of them, some 180, take ten minutes

# Runs a command in forked processes, so that imports cost their time once. A process kills itself before its
# n-th change to a file of the index or of the work folder; what it has opened by HDF5 shows when it is
# renamed.
PROGRAM = """
import hashlib, json, os, random, shutil, signal, sys
from pathlib import Path

import h5py, torch
torch.set_num_threads(1)
import faiss, flows.commands.codes, tasks.index.given_videos, ssvh_model.video.extraction, ssvh_model.index.video_encoder
from flows.cli.app import app, exit_status
from ssvh_model.index import index_folder
from ssvh_model.index.snapshot import Pointer, open_snapshot

MOMENTS = int(sys.argv[1])
AWAY = {"os.remove", "os.rmdir", "shutil.rmtree"}
CHANGES = {*AWAY, "os.rename", "os.mkdir", "os.truncate", "shutil.copyfile"}


def in_a_process(command, kill_at):
    # How it ended and how many changes it made.
    child = os.fork()
    if not child:
        output = os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1), os.dup2(output, 2)
        made, root = 0, os.getcwd() + os.sep

        def hook(event, arguments):
            nonlocal made
            writes = event == "open" and isinstance(arguments[1], str) and set("wax+") & set(arguments[1])
            if not writes and event not in CHANGES:
                return
            named = arguments[0]
            path = os.path.join(root, os.fsdecode(named)) if isinstance(named, (str, bytes, Path)) else ""
            # How features are made has its own tests; here it counts that what was made is taken away.
            if not path.startswith(root + "index") and not (path.startswith(root + ".work") and event in AWAY):
                return
            made += 1
            if made == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        status = exit_status(lambda: app(command, standalone_mode=True))
        sys.stdout.flush()
        Path("made.txt").write_text(str(made))
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def state():
    # All that a user could tell, and every file of the folder, whatever the number of the generation.
    index = Path("index")
    snapshot, pointer = open_snapshot(index), Pointer.read(index)
    whole, added = snapshot.whole(), {}
    for path in sorted((index / "added").glob("*")):
        added[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    cells = snapshot.cells
    return {
        "videos": [whole.ids, whole.codes.tolist(), whole.labels, whole.paths, whole.durations.tolist(), whole.spans.tolist(), whole.source],
        "hasher": vars(whole.hasher),
        "cells": cells and [cells.centres.tolist(), cells.ends.tolist(), cells.probes],
        "removed": sorted(snapshot.removed_ids()),
        "added": added,
        "files": sorted(str(path.relative_to(index)).replace(pointer.generation, "N") for path in index.rglob("*")),
        "work": sorted(str(path) for path in Path(".work").rglob("*") if path.is_file()),
    }


def start(before):
    shutil.rmtree("project", ignore_errors=True)
    shutil.copytree(before, "project")
    os.chdir("project")


def killed(before, command, moments):
    # What is different, or went wrong, for each moment.
    start(before)
    status = in_a_process(command, 0)
    assert status == 0, Path("output.txt").read_text()
    undisturbed, made = state(), int(Path("made.txt").read_text())
    os.chdir("..")
    every = range(1, made + 1)
    wrong = []
    for moment in sorted(random.sample(every, min(moments, made))):
        start(before)
        status = in_a_process(command, moment)
        assert status == -signal.SIGKILL, (moment, made, Path("output.txt").read_text())
        status = in_a_process(command, 0)
        after = state() if status == 0 else {}
        if after != undisturbed:
            differs = {name: [after.get(name), undisturbed[name]] for name in undisturbed if after.get(name) != undisturbed[name]}
            wrong.append([command, f"{moment} of {made}", status, Path("output.txt").read_text(), differs])
        os.chdir("..")
    return wrong


wrong = []
for before, command, changes_at_once in json.loads(sys.stdin.read()):
    index_folder.CHANGES_AT_ONCE = index_folder.CHANGES_SHARE = changes_at_once
    wrong += killed(before, command, MOMENTS)
print(json.dumps(wrong))
"""


def ssvh(*command: str) -> None:
    assert exit_status(lambda: app(list(command), standalone_mode=True)) == 0


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stored features, a hasher in a folder, and two clips, one of them longer than a segment, and a file
    that is none to add.
    """
    folder = tmp_path / "before"
    folder.mkdir()
    monkeypatch.chdir(folder)
    params = (REPOSITORY / "params.yaml").read_text(encoding="utf-8")
    params = params.replace("workers: 0  ", "workers: 1  ")
    params = params.replace("segments: whole", "segments: {seconds: 1.1, overlap: 0.5}")
    Path("params.yaml").write_text(params, encoding="utf-8")
    backbone = load_backbone("efficientnet_lite0", size=64, device=torch.device("cpu"))
    meta = FeatureMeta(backbone.name, backbone.weights_sha256, 64)
    write_hasher(Path("hasher"), frames=4, feature_size=1280, meta=meta)
    rng = np.random.default_rng(1)
    write_feature_file(
        Path("features.h5"),
        rng.normal(size=(6, 4, 1280)),
        ids=list("abcdef"),
        labels=[("label",)] * 6,
        splits=["train"] * 6,
        meta=meta,
    )
    Path("new").mkdir()
    for name, length in (("x", 8), ("y", 12)):
        picture = rng.integers(0, 256, (1, 4, 4, 3), dtype=np.uint8)
        frames = picture.repeat(length, 0).repeat(16, 1).repeat(16, 2)
        write_video(Path("new", f"{name}.mp4"), frames, rate=Fraction(8), quality=20)
    Path("new/broken.mp4").write_bytes(b"no video")
    return folder


INDEX = ("index", "features.h5", "--hasher", "./hasher")
ADD = ("add", "new", "--label", "own")


@pytest.mark.slow
def test_a_killed_command_is_done_by_the_same_command(project: Path) -> None:
    kills: list[tuple[str, Sequence[str], int]] = []

    def kill(*command: str, changes_at_once: int = 10_000) -> None:
        """Have a command killed that is typed at the present state."""
        before = shutil.copytree(project, project.parent / f"before-{len(kills)}")
        kills.append((str(before), command, changes_at_once))

    kill(*INDEX)
    ssvh(*INDEX)
    ssvh("remove", "b")
    for changes_at_once in (10_000, 0):  # with 0, every change makes a new generation
        kill(*ADD, changes_at_once=changes_at_once)
    ssvh(*ADD)
    kill(*INDEX)
    for changes_at_once in (10_000, 0):
        kill("remove", "x", "c", changes_at_once=changes_at_once)
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(MOMENTS)],
        input=json.dumps(kills),
        cwd=project.parent,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    wrong = json.loads(result.stdout)
    assert wrong == [], json.dumps(wrong, indent=1)[:5000]
