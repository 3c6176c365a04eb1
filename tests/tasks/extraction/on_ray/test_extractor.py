"""Extraction by a Ray cluster gives the bytes that this machine would, whatever is lost on the way."""

from __future__ import annotations

import os
import shutil
import signal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import LogFilter, LogFilterTaskRunId
from prefect.client.schemas.sorting import TaskRunSort

from ssvh_model.errors import UserError
from ssvh_model.manifest import Video, read_manifest
from ssvh_model.progress import no_progress
from ssvh_model.video import shards
from tasks.extraction.chosen_extractor import open_extraction
from tasks.params.changes import with_changes
from tasks.params.load import load_params
from tasks.params.sections import Params
from tests.projects import REPOSITORY, Project, copy_project
from tests.ssvh_model.video.odd_videos import break_after_first_frame, video_maker
from tests.tasks.on_ray.nodes import SECONDS, NodesOnThisMachine, await_true

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        find_spec("ray") is None, reason="needs the optional extra ray; `make test-ray` installs it"
    ),
]

VIDEOS = 6 * shards.SHARD_VIDEOS


def make_videos(folder: Path, count: int) -> None:
    """A few that differ, and copies of them; of 3.mp4 only the first frame decodes."""
    make = video_maker(folder)
    different = [make(f"{number}.mp4", frames=3 + 2 * number) for number in range(8)]
    for number in range(len(different), count):
        # A byte more makes it another file: of two that are the same, only one is extracted in a new run.
        content = different[number % len(different)].read_bytes()
        (folder / f"{number}.mp4").write_bytes(content + number.to_bytes(2))
    break_after_first_frame(folder / "3.mp4")


def read_all(folder: Path) -> dict[str, bytes]:
    """What an extraction has made, by name."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.h5")}


def settings(**changes: Any) -> Params:
    given = {
        "features.frames": 5,
        "sampler.mask_ratio": 0.5,
        "features.size": 64,
        "running.workers": 1,
        "corpus.source": "folder",
    }
    return with_changes(load_params(REPOSITORY / "params.yaml"), {**given, **changes}, where="test")


def on(cluster: NodesOnThisMachine, **changes: Any) -> Params:
    given = {"running.extraction": "ray", "running.ray.address": cluster.address}
    return settings(**{**given, **changes})


def extract(params: Params, videos: list[Video], folder: Path) -> list[Video]:
    with open_extraction(params, videos, folder, print) as (extraction, extractor):
        extraction.make(extractor, progress=no_progress, wait=True)
    return extraction.join()


class Running:
    """The stage features in a process of its own."""

    def __init__(self, project: Project) -> None:
        self._folder, self._before = project.folder, self.made(project.folder)
        self.process = project.start("tasks.stage", "features")

    @staticmethod
    def made(folder: Path) -> dict[Path, int]:
        """The shards that are there, and when they were made."""
        return {
            path: path.stat().st_mtime_ns
            for path in folder.glob(".work/features/*/features/shards/[0-9]*.h5")
        }

    def await_a_shard(self) -> None:
        def one_more() -> bool:
            assert self.process.poll() is None, self.process.communicate()[0]
            return len(self.made(self._folder)) > len(self._before)

        await_true(one_more)

    def end(self) -> str:
        return self.process.communicate(timeout=SECONDS)[0]


def lines_of_last_task(prefect_api: str) -> str:
    """What the page of the stage's task run shows, if it went well."""
    with SyncPrefectClient(api=prefect_api) as client:
        runs = client.read_task_runs(sort=TaskRunSort.END_TIME_DESC, limit=1)
        # The server has logs of other tests, too, and gives out only some at a time.
        own = LogFilter(task_run_id=LogFilterTaskRunId(any_=[run.id for run in runs]))
        lines = [log.message for log in client.read_logs(log_filter=own)]
    well = runs and runs[0].name == "features" and runs[0].state and runs[0].state.is_completed()
    return "\n".join(lines) if well else ""


def test_the_stage_is_stopped_killed_and_loses_a_node(
    cluster: NodesOnThisMachine, prefect_api: str, tmp_path: Path
) -> None:
    project = copy_project(tmp_path / "project")
    make_videos(project.folder / "videos", VIDEOS)
    project.set(
        corpus__source="folder",
        features__frames=10,
        features__size=96,
        sampler__mask_ratio=0.5,
        running__workers=1,
        running__extraction="ray",
        running__ray__address=cluster.address,
    )
    assert "error" not in project.run("dvc", "repro", "corpus")

    stopped = Running(project)
    stopped.await_a_shard()
    stopped.process.send_signal(signal.SIGTERM)  # as where its run is cancelled
    assert "stage features was stopped" in stopped.end()
    await_true(lambda: not cluster.running())

    killed = Running(project)
    killed.await_a_shard()
    os.killpg(killed.process.pid, signal.SIGKILL)
    killed.end()
    await_true(lambda: not cluster.running())

    kept = Running.made(project.folder)
    assert 2 <= len(kept) < 6
    project.environment["PREFECT_API_URL"] = prefect_api
    last = Running(project)
    await_true(lambda: cluster.running() == 2)
    cluster.kill_node()
    said = last.end()
    assert last.process.returncode == 0, said
    assert f"videos: {VIDEOS} of {VIDEOS}" in said
    assert f"{VIDEOS - 1} videos have features, 1 were left out" in said
    await_true(lambda: f"videos: {VIDEOS} of {VIDEOS}" in lines_of_last_task(prefect_api))
    assert "Ray: 3 nodes, room for 2 shards at a time, 1 CPU each" in lines_of_last_task(prefect_api)
    made = Running.made(project.folder)
    assert {path: made[path] for path in kept} == kept, "what is there is not made again"

    here = tmp_path / "here"
    videos = read_manifest(project.folder / "data/corpus/manifest.csv")
    alone = {"running.extraction": "local", "corpus.path": str(project.folder / "videos")}
    extract(with_changes(load_params(project.folder / "params.yaml"), alone, where="test"), videos, here)
    (work,) = project.folder.glob(".work/features/*/features")
    assert read_all(work) == read_all(here)


def test_videos_are_fetched_from_s3(cluster: NodesOnThisMachine, objects: str, tmp_path: Path) -> None:
    import boto3

    make_videos(tmp_path / "videos", 12)
    videos = [Video(id=f"v{number}", path=f"{number}.mp4", split="train") for number in range(13)]
    store = boto3.client("s3", endpoint_url=objects)
    store.create_bucket(Bucket="corpus")
    for file in (tmp_path / "videos").iterdir():
        store.upload_file(str(file), "corpus", f"films/{file.name}")

    local = extract(settings(**{"corpus.path": str(tmp_path / "videos")}), videos, tmp_path / "local")
    shutil.rmtree(tmp_path / "videos")
    remote = {"running.ray.videos": "s3://corpus/films/", "corpus.path": str(tmp_path / "videos")}
    assert extract(on(cluster, **remote), videos, tmp_path / "ray") == local
    assert [video.reason for video in local if not video.usable] == [
        "only 1 of 9 frames decode (Invalid data found when processing input)",
        "missing: there is no such file",
    ]
    assert read_all(tmp_path / "ray") == read_all(tmp_path / "local")

    # Where the corpus itself is there, the nodes need to be told nothing.
    alone = {"corpus.path": "s3://corpus/films"}
    assert extract(on(cluster, **alone), videos, tmp_path / "alone") == local
    assert read_all(tmp_path / "alone") == read_all(tmp_path / "local")

    elsewhere = {**remote, "running.ray.videos": "s3://corpus/elsewhere"}
    with pytest.raises(
        UserError, match=r"^node .*: there is no folder s3://corpus/elsewhere; every node needs"
    ):
        extract(on(cluster, **elsewhere), videos, tmp_path / "elsewhere")
