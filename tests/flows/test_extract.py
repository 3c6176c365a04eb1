"""Extraction by two workers of a pool: a real server, real workers, the project's own deployment."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ssvh_model.features import FeatureFile
from tests.flows.conftest import Project
from tests.flows.servers.test_worker import workers
from tests.projects import copy_project
from tests.ssvh_model.video.odd_videos import video_maker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

VIDEOS = 200  # four shards


def test_two_workers_make_the_shards_and_the_stage_only_joins_them(tmp_path: Path, prefect_api: str) -> None:
    whole = copy_project(tmp_path)
    whole.set(
        corpus__source="folder",
        corpus__path="videos",
        features__frames=2,
        sampler__mask_ratio=0.5,
        features__size=32,
        running__workers=1,
    )
    make = video_maker(tmp_path / "videos")
    for number in range(VIDEOS):
        make(f"{number:03d}.mp4", frames=2 + number % 5, width=32, height=32)
    project = Project(tmp_path, {**whole.environment, "PREFECT_API_URL": prefect_api})
    status, output = project.run("flows.cli", "deploy")
    assert status == 0, output
    with workers(project, "--pool", "cpu", "--gpus", "0,1"):
        status, output = project.run("flows.cli", "extract", "--workers", "2", "--on-pool")
    assert status == 0, output
    log = (tmp_path / "worker.log").read_text()
    made = [int(count) for count in re.findall(r"(\d+) shards made here", log)]
    shards = sorted(tmp_path.glob(".work/features/*/features/shards/*.h5"))
    assert len(shards) == 4
    assert len(made) >= 2 and sum(made) == 4 * (len(made) // 2), log
    before = {path: path.stat().st_mtime_ns for path in shards}

    status, output = project.run("dvc", "repro", "features")
    assert status == 0, output
    assert {path: path.stat().st_mtime_ns for path in shards} == before
    file = FeatureFile(tmp_path / "data/features/features.h5")
    assert len(file) == VIDEOS
    assert file.read([0, VIDEOS - 1]).isfinite().all()
