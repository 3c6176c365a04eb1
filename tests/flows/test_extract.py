"""Extraction by two processes, as a person starts it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ssvh_model.features import FeatureFile
from tests.projects import copy_project
from tests.ssvh_model.video.odd_videos import video_maker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

VIDEOS = 200  # four shards


def test_two_processes_make_the_shards_and_the_stage_only_joins_them(
    tmp_path: Path, prefect_api: str
) -> None:
    project = copy_project(tmp_path)
    project.environment["PREFECT_API_URL"] = prefect_api
    project.set(
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
    said = project.run("flows.cli", "extract", "--workers", "2")
    # Each says it once in a line of its own, and once through Prefect's log.
    made = [int(count) for count in re.findall(r"^(\d+) shards made here", said, re.MULTILINE)]
    shards = sorted(tmp_path.glob(".work/features/*/features/shards/*.h5"))
    assert len(shards) == 4
    assert len(made) == 2 and sum(made) == 4, said
    before = {path: path.stat().st_mtime_ns for path in shards}

    project.run("dvc", "repro", "features")
    assert {path: path.stat().st_mtime_ns for path in shards} == before
    file = FeatureFile(tmp_path / "data/features/features.h5")
    assert len(file) == VIDEOS
    assert file.read([0, VIDEOS - 1]).isfinite().all()


def test_it_is_not_for_ray(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    project.set(running__extraction="ray")
    process = project.start("flows.cli", "extract")
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 2
    assert "running.extraction is ray, whose nodes make the shards" in said
