"""A disk that runs full while a stage trains: a real one, small and in memory."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ssvh_model.features import FeatureMeta, write_feature_file
from ssvh_model.manifest import Video, write_manifest
from ssvh_model.training.checkpoint import load_history, load_model
from tests.projects import Project, copy_project

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(1500)]

MEGABYTES = 64
EPOCHS = 300


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own; skips where this user may not mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs the program mount")
    if done.returncode != 0:
        pytest.skip(f"this user may not mount a file system ({done.stderr.strip()})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def project(small_disk: Path) -> Project:
    """A project on it whose features are there."""
    project = copy_project(small_disk)
    project.set(warmup__epochs=EPOCHS, training__validate_every=1000)
    write_feature_file(
        small_disk / "data/features/features.h5",
        np.random.default_rng(0).normal(size=(64, 8, 32)),
        ids=[str(row) for row in range(64)],
        labels=[()] * 64,
        splits=["train"] * 64,
        meta=FeatureMeta("", "", 0),
    )
    videos = [Video(str(row), f"{row}.mp4", split="train") for row in range(64)]
    write_manifest(small_disk / "data/features/manifest.csv", videos)
    return project


def checkpoints(project: Project) -> list[Path]:
    return sorted(project.folder.glob(".work/warmup/*/epoch-*"))


def fill(disk: Path) -> Path:
    """Write a file until nothing more fits."""
    ballast = disk / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 14))
        except OSError:
            pass
    return ballast


def test_a_full_disk_is_one_line_and_leaves_the_last_checkpoint_to_go_on_from(project: Project) -> None:
    process = project.start("tasks.stage", "warmup")
    until = time.monotonic() + 200
    while len(checkpoints(project)) == 0 or checkpoints(project)[-1].name < "epoch-000003":
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.05)
    ballast = fill(project.folder)
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 2, output
    errors = [line for line in output.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "the disk is full" in errors[0] and "the last checkpoint too" in errors[0], (
        output
    )
    assert "Traceback" not in output
    last = checkpoints(project)[-1]
    load_model(last)
    epoch = load_history(last)[-1]["epoch"]
    assert last.name == f"epoch-{epoch:06d}" and epoch >= 3
    assert not list(project.folder.glob(".work/warmup/*/.epoch-*")), (
        "what was begun does not keep the disk full"
    )

    ballast.unlink()
    project.run("tasks.stage", "warmup")
    trained = project.client().get_metric_history(project.run_ids()["warmup"], "epoch_seconds")
    assert [point.step for point in trained] == list(range(epoch + 1, EPOCHS + 1))
