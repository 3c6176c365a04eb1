"""Videos in a bucket: the stages corpus and features make of them what they make of the same videos in a
folder.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from ssvh_model.manifest import read_manifest
from tests.projects import Project
from tests.services import Service, s3_service
from tests.ssvh_model.video.odd_videos import break_after_first_frame, video_maker

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(1800)]

LABELS = "file,label\ncats/0.mp4,cat\ns3://corpus/films/cats/2.mp4,cat\ndogs/1.mp4,dog\nnot-there.mp4,dog\n"


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[Service]:
    server, _ = s3_service(tmp_path)
    try:
        yield server.start()
    finally:
        server.stop()


def store_of(server: Service) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=server.health,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name="us-east-1",
    )


def fetched(server: Service) -> list[str]:
    """Paths of the videos that the server has been asked for so far, each as often as it was."""
    asked = re.findall(r'"GET /corpus/films/(\S+\.mp4) HTTP', server.log.read_text())
    return sorted(asked)


def made(project: Project) -> dict[str, bytes]:
    """Manifests and features, by path."""
    files = [*project.folder.glob("data/corpus/*.csv"), *project.folder.glob("data/features/**/*.*")]
    return {str(path.relative_to(project.folder)): path.read_bytes() for path in files}


def test_a_bucket_gives_the_features_of_the_folder_and_is_fetched_again_where_it_has_changed(
    project: Project, s3: Service
) -> None:
    films = project.folder / "videos"
    make = video_maker(films)
    for number in range(8):
        make(f"{'cats' if number % 2 == 0 else 'dogs'}/{number}.mp4", frames=5 + 3 * number)
    break_after_first_frame(films / "dogs/3.mp4")
    (films / "dogs/5.mp4").write_bytes(b"no video")
    make(".hidden/9.mp4")
    (films / "labels.csv").write_text(LABELS.replace("s3://corpus/films/", ""))
    store = store_of(s3)
    store.create_bucket(Bucket="corpus")
    for file in (path for path in films.rglob("*") if path.is_file() and path.name != "README.md"):
        store.upload_file(str(file), "corpus", f"films/{file.relative_to(films).as_posix()}")
    store.put_object(Bucket="corpus", Key="films/labels.csv", Body=LABELS.encode())

    small: dict[str, Any] = {"features__frames": 5, "sampler__mask_ratio": 0.5}
    shares = {"validation": 0.0, "database": 0.2, "query": 0.2, "validation_groups": [], "query_groups": []}
    project.set(corpus__source="folder", corpus__split=shares, **small)
    project.run("dvc", "repro", "features")
    here = made(project)
    assert any(name.endswith("features.h5") for name in here)

    # The same videos, elsewhere.
    project.set(corpus__path="s3://corpus/films")
    project.environment |= {
        "AWS_ENDPOINT_URL": s3.health,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    # The features of the folder would do: what is in the videos counts, not where they are.
    for name in ("data", ".dvc/cache", ".work"):
        shutil.rmtree(project.folder / name)
    (project.folder / "dvc.lock").unlink()
    said = project.run("dvc", "repro", "features")
    assert "videos: 8 of 8" in said and "left out: dogs/5.mp4: not a video" in said
    assert made(project) == here
    assert not [*project.folder.glob("data/corpus/**/*.mp4")], "videos are not copied"
    videos = read_manifest(project.folder / "data/corpus/manifest.csv")
    usable = sorted(video.path for video in videos if video.usable)
    everything = sorted(video.path for video in videos)
    assert fetched(s3) == sorted([*everything, *usable]), "once by each stage, by the second what is in order"

    said = project.run("dvc", "repro", "features")
    assert "Stage 'corpus' didn't change, skipping" in said
    assert "Stage 'features' didn't change, skipping" in said
    assert fetched(s3) == sorted([*everything, *usable])

    # One has changed, one is new and one is gone.
    s3.log.write_text("")
    make("cats/0.mp4", frames=9)
    make("cats/8.mp4", frames=10)
    for name in ("cats/0.mp4", "cats/8.mp4"):
        store.upload_file(str(films / name), "corpus", f"films/{name}")
    store.delete_object(Bucket="corpus", Key="films/dogs/1.mp4")
    assert "s3://corpus/films" in project.run("dvc", "status", "corpus")
    said = project.run("dvc", "repro", "features")
    assert "2 videos are new" in said
    # Of dogs/3.mp4, which does not decode, there are no features that could be taken.
    assert fetched(s3) == ["cats/0.mp4", "cats/0.mp4", "cats/8.mp4", "cats/8.mp4", "dogs/3.mp4"]
    assert "dogs/1.mp4" not in [
        video.path for video in read_manifest(project.folder / "data/features/manifest.csv")
    ]

    # Two more are found by a look, which keeps what it fetches for the next run.
    s3.log.write_text("")
    for name, frames in (("cats/10.mp4", 12), ("dogs/11.mp4", 14)):
        make(name, frames=frames)
        store.upload_file(str(films / name), "corpus", f"films/{name}")
    for _ in range(2):
        said = project.run("flows.cli", "watch", "--only-look")
        assert "2 new of 8 videos" in said, said
        assert fetched(s3) == ["cats/10.mp4", "cats/10.mp4", "dogs/11.mp4", "dogs/11.mp4"], (
            "once for each use"
        )
    project.run("dvc", "repro", "features")
    assert set(fetched(s3)) <= {"cats/10.mp4", "dogs/11.mp4", "dogs/3.mp4"}
    assert fetched(s3).count("cats/10.mp4") == 2
