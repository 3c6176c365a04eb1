"""`ssvh serve` in front of videos in a bucket: copies of them are shown, and nobody learns the keys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.browser import SECONDS_TO_SHOW, chromium, find_browser
from tests.services import Service, s3_service
from tests.serving import Searchable, Server, environment, problem, serving

pytestmark = pytest.mark.slow

KEY, SECRET = "the-key-of-the-tests", "the-secret-of-the-tests"
FILMS = {
    "far/1": "s3://corpus/films/far/1.mp4",
    "far/2": "s3://corpus/films/far/2.mp4",
    "../../far:3": "s3://corpus/films/../../3.mp4",
    "no video": "s3://corpus/films/labels.csv",
    "gone": "s3://corpus/films/gone.mp4",
    "large": "s3://corpus/films/large.mp4",
    "folder": "s3://corpus/films",
}


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    server, _ = s3_service(tmp_path_factory.mktemp("s3"))
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="module")
def store(s3: Service, searchable: Searchable) -> Any:
    """A bucket with three of the clips, a table and a file that is too large."""
    keys = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET}
    store = boto3.client("s3", endpoint_url=s3.health, region_name="us-east-1", **keys)
    store.create_bucket(Bucket="corpus")
    for number, key in enumerate(("films/far/1.mp4", "films/far/2.mp4", "films/../../3.mp4"), start=1):
        clip = searchable.clips[f"{('cats', 'dogs')[number % 2]}/{number}"]
        store.put_object(Bucket="corpus", Key=key, Body=clip.read_bytes())
    store.put_object(Bucket="corpus", Key="films/labels.csv", Body=b"file,label\n")
    store.put_object(Bucket="corpus", Key="films/large.mp4", Body=bytes(1_100_000))
    return store


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the service puts temporary files."""
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def server(searchable: Searchable, store: Any, s3: Service, copies: Path) -> Iterator[Server]:
    searchable.use(0, FILMS)
    variables = environment(
        AWS_ENDPOINT_URL=s3.health,
        AWS_ACCESS_KEY_ID=KEY,
        AWS_SECRET_ACCESS_KEY=SECRET,
        AWS_DEFAULT_REGION="us-east-1",
        TMPDIR=str(copies),
    )
    with serving(searchable.folder, "--fetched-megabytes", "1", variables=variables) as started:
        yield started


def fetched(s3: Service, key: str) -> int:
    """How often the content of an object has been asked for."""
    return len(re.findall(rf'"GET /corpus/{re.escape(key)} HTTP', s3.log.read_text()))


def kept(copies: Path) -> list[Path]:
    return [path for path in copies.glob("ssvh-*/fetched-*/*") if path.is_file()]


def test_they_are_described_shown_and_played_from_one_copy(
    server: Server, searchable: Searchable, s3: Service, copies: Path
) -> None:
    whole = searchable.clips["dogs/1"].read_bytes()
    here = server.client.get("/videos/dogs/1").json()
    there = server.client.get("/videos/far/1").raise_for_status().json()
    assert there["file"] == here["file"] and there["video"]["path"] == FILMS["far/1"]
    for kind in ("thumbnails", "previews", "files"):
        assert server.client.get(f"/{kind}/far/1").content == server.client.get(f"/{kind}/dogs/1").content
    at = server.client.get("/thumbnails/far/1", params={"at": 1.0}).raise_for_status()
    assert at.content == server.client.get("/thumbnails/dogs/1", params={"at": 1.0}).content
    part = server.client.get("/files/far/1", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole[10:20])
    assert part.headers["content-type"] == "video/mp4" and '"1.mp4"' in part.headers["content-disposition"]
    head = server.client.head("/files/far/1")
    assert (head.headers["content-length"], head.content) == (str(len(whole)), b"")
    assert fetched(s3, "films/far/1.mp4") == 1 and len(kept(copies)) == 1


def test_a_changed_object_is_fetched_again_and_no_name_becomes_a_path(
    server: Server, searchable: Searchable, store: Any, copies: Path
) -> None:
    first = searchable.clips["cats/2"].read_bytes()
    assert server.client.get("/files/far/2").content == first
    other = searchable.clips["cats/4"].read_bytes()
    store.put_object(Bucket="corpus", Key="films/far/2.mp4", Body=other)
    assert server.client.get("/files/far/2").content == other
    answer = server.client.get("/files/..%2F..%2Ffar:3").raise_for_status()
    assert answer.content == searchable.clips["dogs/3"].read_bytes()
    assert '"far_3.mp4"' in answer.headers["content-disposition"]
    assert all(re.fullmatch("[0-9a-f]{64}", path.name) for path in kept(copies))


def test_what_is_no_video_or_too_large_is_not_given_out(server: Server, copies: Path) -> None:
    for video in ("no video", "gone", "folder"):
        for kind in ("files", "thumbnails", "previews"):
            problem(server.client.get(f"/{kind}/{video}"), 404, "file-gone")
        described = server.client.get(f"/videos/{video}").json()
        assert described["file"] is None and described["no_file"]
    said = problem(server.client.get("/files/large"), 507, "no-room")
    assert "1.1 MB" in said and "--fetched-megabytes" in said
    assert sum(path.stat().st_size for path in kept(copies)) < 10**6


def test_the_page_plays_one(server: Server) -> None:
    if (program := find_browser()) is None:
        pytest.skip("needs Chromium, which is not installed")
    asked: list[str] = []
    with chromium(program) as running:
        tab = running.new_context(
            viewport={"width": 1400, "height": 1000}, base_url=server.address
        ).new_page()
        tab.set_default_timeout(SECONDS_TO_SHOW * 1000)
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto("/")
        card = tab.locator("#results .card", has=tab.locator("h3", has_text="far/1"))
        card.scroll_into_view_if_needed()
        tab.wait_for_function(
            "() => [...document.querySelectorAll('#results .screen img')].some("
            "(one) => one.src.includes('far%2F1') && one.naturalWidth === 96)"
        )
        card.locator(".screen").click()
        tab.wait_for_function(
            "() => { const video = document.querySelector('#details-screen video, #details-screen img');"
            " return video && (video.tagName === 'IMG' ? video.naturalWidth > 0 : video.currentTime > 0); }"
        )
        tab.locator("#details dd", has_text="96 × 96 pixels").wait_for()
    assert asked and all(address.startswith((server.address, "data:", "blob:")) for address in asked)


def test_a_storage_that_is_away_or_refuses_is_a_problem_that_tells_no_keys(
    server: Server, s3: Service, copies: Path
) -> None:
    """The last one here: it ends the storage."""
    s3.stop()
    answer = server.client.get("/files/far/1")
    problem(answer, 503, "storage-away")
    assert int(answer.headers["retry-after"]) > 0
    described = server.client.get("/videos/far/1").json()
    assert described["file"] is None and "service's log" in described["no_file"]
    for text in (answer.text, str(answer.headers), str(described), server.client.get("/metrics").text):
        assert KEY not in text and SECRET not in text
    assert server.client.get("/files/dogs/1").status_code == 200
    assert server.find({"id": "far/1"}).status_code == 200
