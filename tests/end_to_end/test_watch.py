"""A folder that gets new videos: the watch decodes these alone, and trains again when there are enough."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.projects import Project

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(1500)]


def add(project: Project, clips: list[Path]) -> None:
    for clip in clips:
        (project.folder / "videos" / clip.name).write_bytes(clip.read_bytes())


def decoded(project: Project) -> float:
    """Videos that the stage features has not found in earlier extractions."""
    return project.client().get_run(project.run_ids()["features"]).data.metrics["videos.new"]


def figures(project: Project) -> dict[str, object]:
    """What MLflow shows of the looks while the newest version was version 2."""
    client = project.client()
    (run,) = client.search_runs(["1"], "tags.`ssvh.watched_version` = '2'")
    new = [one.value for one in client.get_metric_history(run.info.run_id, "videos.new")]
    drifts = client.get_metric_history(run.info.run_id, "drift.bit_shift")
    return {"videos.new": new, "drift.bit_shift": len(drifts)}


def test_new_videos_lead_to_a_training_when_there_are_enough(
    clone: Callable[[], Project], prefect_api: str
) -> None:
    project = clone()
    project.environment["PREFECT_API_URL"] = prefect_api
    clips = sorted((project.folder / "data/corpus/clips").glob("*.mp4"))[:34]
    kept = project.folder / "kept"
    kept.mkdir()
    for clip in clips:
        (kept / clip.name).write_bytes(clip.read_bytes())
    clips = sorted(kept.iterdir())
    add(project, clips[:29])
    project.set(corpus__source="folder", warmup__epochs=2, rounds={}, watch__settle=0, watch__least_videos=2)
    project.set(
        features__size=80
    )  # features of this size are new: the clips come from the demo, which has some
    project.run("dvc", "repro")
    assert decoded(project) == 29
    assert "no new videos beside the 29 known ones" in project.run("flows.cli", "watch")

    # Two are not enough, and of the same kind as far as codes of 16 bits tell.
    project.set(watch__bit_shift=1.0, watch__unseen_codes=1.0)
    add(project, clips[29:31])
    output = project.run("flows.cli", "watch")
    assert "2 new of 31 videos, 6.5%, of the same kind" in output
    assert "new videos: 2 of 2" in output

    add(project, clips[31:])
    assert "a training is due" in project.run("flows.cli", "watch", "--only-look")
    assert figures(project) == {"videos.new": [0, 2, 5], "drift.bit_shift": 2}
    before = project.run_ids()
    assert "5 new of 34 videos, 14.7%; watch.retrain_share is 10.0%: trained again" in project.run(
        "flows.cli", "watch"
    )
    after = project.run_ids()
    assert {stage for stage in before if before[stage] != after[stage]} == {
        "corpus",
        "features",
        "warmup",
        "evaluate",
        "register",
    }
    assert decoded(project) == 0, "the watch had extracted them before"
    assert project.json("registry/version.json")["version"] == "3"
    assert "no new videos beside the 34 known ones" in project.run("flows.cli", "watch")
