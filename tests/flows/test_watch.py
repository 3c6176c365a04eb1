"""`ssvh watch` on a folder of videos, without the pipeline: what one look leaves for the next, and two looks
at once.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from ssvh_model.files import sha256_of
from ssvh_model.manifest import Video, write_manifest
from tests.flows.conftest import Project
from tests.ssvh_model.video.odd_videos import break_after_first_frame, video_maker

pytestmark = pytest.mark.timeout(600)

PIPELINE = """
stages:
  features:
    cmd: python -m tasks.stage features
    deps: [data/corpus]
    params: [features]
    outs: [data/features, runs/features.json]
"""
WATCHING = """
import sys
from tasks.extraction.new_videos import only_look
with only_look(print):
    print("watching", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def watched(stub_project: Project, prefect_api: str) -> Project:
    """A project whose last run knew a hundred videos, one of which is still in its folder."""
    folder = stub_project.folder
    known = video_maker(folder / "videos")("known.mp4", frames=6)
    videos = [
        Video(id=str(number), path=f"{number}.mp4", split="train", frames=6, sha256=f"{number:064x}")
        for number in range(99)
    ]
    videos.append(Video(id="known", path="known.mp4", split="train", frames=6, sha256=sha256_of(known)))
    write_manifest(folder / "data/features/manifest.csv", videos)
    (folder / "dvc.yaml").write_text(PIPELINE)
    yaml = YAML()
    params = yaml.load((folder / "params.yaml").read_text())
    params["corpus"].update(source="folder", path="videos")
    params["features"].update(size=32)
    params["watch"].update(settle=0)
    with open(folder / "params.yaml", "w") as file:
        yaml.dump(params, file)
    stub_project.environment["PREFECT_API_URL"] = prefect_api
    return stub_project


def undecodable(folder: Path, name: str) -> None:
    path = video_maker(folder / "videos")(name, frames=30, options={"g": "1"})
    break_after_first_frame(path)
    # As long as nobody reads it, it could still be written to.
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 60))


@pytest.mark.slow
def test_a_clip_that_can_not_be_decoded_is_left_out_and_named(watched: Project) -> None:
    undecodable(watched.folder, "broken.mp4")
    for _ in range(2):
        status, output = watched.run("flows.cli", "watch", "--only-look")
        assert status == 0, output
        assert "left out: broken.mp4: only 1 of 30 frames decode" in output
        assert "no new videos beside the 100 known ones, 99 are gone, 1 can't be read" in output
    video_maker(watched.folder / "videos")("good.mp4", frames=9)
    status, output = watched.run("flows.cli", "watch", "--only-look")
    assert status == 0, output
    assert "1 new of 101 videos, 1.0%" in output


@pytest.mark.slow
def test_a_second_look_waits_for_the_first_and_says_so(watched: Project) -> None:
    video_maker(watched.folder / "videos")("new.mp4", frames=9)
    first = subprocess.Popen(
        [sys.executable, "-c", WATCHING],
        cwd=watched.folder,
        env=watched.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert first.stdin is not None and first.stdout is not None
    try:
        assert first.stdout.readline() == "watching\n"
        second = watched.start("flows.cli", "watch", "--only-look")
        assert second.stdout is not None
        said = ""
        while "process" not in said or "waiting" not in said:
            said += (read := second.stdout.readline())
            assert read, said
        assert f"process {first.pid} is looking for new videos already; waiting until it ends" in said
        first.kill()
        output, _ = second.communicate(timeout=400)
        assert second.returncode == 0 and "1 new of 101 videos" in output, output
    finally:
        first.kill()
        first.communicate()
