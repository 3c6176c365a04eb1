"""kill -9 in the middle of every long stage; the next `dvc repro` goes on, and the result is the same."""

from __future__ import annotations

import contextlib

import pytest

from tests.projects import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def test_a_run_that_is_killed_in_every_long_stage_ends_with_the_same_figures(
    project: Project, request: pytest.FixtureRequest
) -> None:
    work = project.folder / ".work"

    def made(pattern: str) -> dict[str, int]:
        """Files of a stage's work folder and when they were written. DVC makes new copies when the stage is
        done.
        """
        found = {}
        for path in work.glob(pattern):
            with contextlib.suppress(FileNotFoundError):
                found[path.name] = path.stat().st_mtime_ns
        return found

    def clips() -> dict[str, int]:
        return made("corpus/*/corpus/rows/*.json")

    def shards() -> dict[str, int]:
        return made("features/*/features/shards/*.h5")

    def epochs(stage: str) -> list[int]:
        return sorted(int(path.name.removeprefix("epoch-")) for path in work.glob(f"{stage}/*/epoch-*"))

    project.kill_when(lambda: len(clips()) >= 10)
    assert not (project.folder / "data/corpus/manifest.csv").exists()
    finished_clips, seen = clips(), {}

    def first_shard() -> bool:
        seen.update(clips())
        return bool(shards())

    project.kill_when(first_shard)
    assert finished_clips.items() <= seen.items(), "clips that were finished are not rendered again"
    assert not (project.folder / "data/features/features.h5").exists()
    finished_shards, seen = shards(), {}

    def third_epoch() -> bool:
        seen.update(shards())
        return bool(epochs("warmup")) and epochs("warmup")[-1] >= 3

    project.kill_when(third_epoch)
    assert finished_shards.items() <= seen.items(), "a shard that was finished is not made again"
    assert not (project.folder / "states/warmup").exists()
    reached = epochs("warmup")[-1]

    project.kill_when(lambda: bool(epochs("p2set-1")) and epochs("p2set-1")[-1] >= 19)
    trained = project.client().get_metric_history(project.run_ids()["warmup"], "epoch_seconds")
    assert [point.step for point in trained] == list(range(reached + 1, 17)), (
        "it went on from the last checkpoint"
    )
    assert not (project.folder / "states/round-1").exists()

    project.run("dvc", "repro")
    undisturbed, _ = request.getfixturevalue("finished")
    assert project.json("metrics/evaluation.json") == undisturbed.json("metrics/evaluation.json")
    for state in ("warmup", "round-1", "round-2"):
        name = f"states/{state}/model.safetensors"
        assert (project.folder / name).read_bytes() == (undisturbed.folder / name).read_bytes(), state

    runs = project.client().search_runs(["1"])
    assert {run.info.status for run in runs} <= {"FINISHED", "KILLED"}, "killed runs are closed"
