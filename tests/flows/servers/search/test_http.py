"""The HTTP interface of `ssvh serve`: a real server, real clips, a real hasher."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from PIL import Image

from flows.cli.app import app, exit_status
from ssvh_model.errors import UserError
from ssvh_model.index.index_folder import IndexFolder
from ssvh_model.index.searcher import Searcher
from ssvh_model.video.encoding import write_video
from tests.serving import (
    Searchable,
    Server,
    command_answer,
    environment,
    moving_picture,
    problem,
    serving,
    without_time,
)

SECONDS = 120.0  # for something that takes a moment on a machine with nothing else to do
SECONDS_TO_SWITCH = 300.0


def test_a_clip_finds_what_the_library_finds(server: Server, searchable: Searchable) -> None:
    clip = searchable.clips["dogs/1"]
    answer = server.search(clip.read_bytes(), count=5).raise_for_status().json()
    expected = Searcher(searchable.index).nearest(searchable.folder / clip, 5)
    assert [(hit["id"], hit["distance"]) for hit in answer["hits"]] == [
        (hit.id, hit.distance) for hit in expected
    ]
    assert answer["hits"][0] == {
        "id": "dogs/1",
        "distance": 0,
        "labels": ["dogs", "pets"],
        "seconds": 3.0,
        "path": "clips/dogs/1.mp4",
        "code": answer["query"]["code"],
        "start": 0.0,
        "end": 3.0,
        "likeness": None,
    }
    assert answer["query"]["kind"] == "clip" and answer["query"]["frames"] == 24
    assert answer["query"]["seconds"] == pytest.approx(3.0)
    index = answer["index"]
    assert (index["videos"], index["bits"], index["version"]) == (8, 32, "000001-0")
    assert len(index["hasher"]["sha256"]) == 64 and "unregistered" in index["hasher"]["name"]


def test_a_video_of_the_index_and_its_code_find_the_same(server: Server) -> None:
    by_id = server.find({"id": "cats/0"}, count=8).raise_for_status().json()
    first = by_id["hits"][0]
    assert (first["id"], first["distance"]) == ("dogs/3", 0)
    assert len(by_id["hits"]) == 7 and "cats/0" not in {hit["id"] for hit in by_id["hits"]}
    by_code = server.find({"code": by_id["query"]["code"].upper()}, count=8).raise_for_status().json()
    assert {hit["id"] for hit in by_code["hits"][:2]} == {"cats/0", "dogs/3"}
    assert [hit for hit in by_code["hits"] if hit["id"] != "cats/0"] == by_id["hits"]
    coded = {"code": by_id["query"]["code"], "hasher": by_id["index"]["hasher"]["sha256"]}
    assert server.find(coded, count=8).json()["hits"] == by_code["hits"]
    assert "by an unregistered hasher" in problem(server.find({**coded, "hasher": "00"}), 409, "other-hasher")


def test_filters_leave_out_what_is_not_wanted_and_the_rest_is_the_same(server: Server) -> None:
    everything = server.find({"id": "cats/0"}, count=8).json()["hits"]
    for params, is_wanted in (
        ({"label": "dogs"}, lambda hit: "dogs" in hit["labels"]),
        ({"label": ["dogs", "cats"]}, lambda hit: True),
        ({"label": "none"}, lambda hit: False),
        ({"min_seconds": 4, "max_seconds": 6}, lambda hit: 4 <= hit["seconds"] <= 6),
        ({"max_distance": 12}, lambda hit: hit["distance"] <= 12),
        ({"text": "DOGS/"}, lambda hit: hit["id"].startswith("dogs/")),
    ):
        found = server.find({"id": "cats/0"}, count=8, **params).raise_for_status().json()["hits"]
        assert found == [hit for hit in everything if is_wanted(hit)], params


def test_the_command_answers_as_the_service_does(server: Server, searchable: Searchable) -> None:
    clip = str(searchable.clips["dogs/1"])
    code = server.find({"id": "cats/2"}).json()["query"]["code"]
    for options, params in (
        ((), {}),
        (("-k", "3", "--rerank", "features"), {"count": 3, "rerank": "features"}),
        (("-k", "3", "--rerank", "soft"), {"count": 3, "rerank": "soft"}),
        (("--label", "cats", "--label", "no such"), {"label": ["cats", "no such"]}),
        (("--min-seconds", "4", "--max-seconds", "6.5"), {"min_seconds": 4, "max_seconds": 6.5}),
        (("--max-distance", "12", "--text", "DOGS/"), {"max_distance": 12, "text": "DOGS/"}),
    ):
        by_http = server.search(Path(clip).read_bytes(), **params).raise_for_status().json()
        assert command_answer(searchable.folder, clip, *options) == without_time(by_http), options
        for name, value in (("id", "cats/0"), ("code", code)):
            by_http = server.find({name: value}, **params).raise_for_status().json()
            found = command_answer(searchable.folder, f"--{name}", value, *options)
            assert found == without_time(by_http), (name, options)
    assert command_answer(searchable.folder, clip)["query"]["frames"] == 24


@pytest.mark.parametrize(
    ("options", "question", "params"),
    [
        (("--id", "no such"), {"id": "no such"}, {}),
        (("--code", "00"), {"code": "00"}, {}),
        (("--min-seconds", "-1"), None, {"min_seconds": "-1"}),
        (("--min-seconds", "nan"), None, {"min_seconds": "nan"}),
        (("--max-seconds", "long"), None, {"max_seconds": "long"}),
        (("--max-distance", "1.5"), None, {"max_distance": "1.5"}),
        (("--text", "a" * 201), None, {"text": "a" * 201}),
    ],
)
def test_the_command_refuses_with_the_words_of_the_service(
    server: Server,
    searchable: Searchable,
    options: tuple[str, ...],
    question: dict[str, str] | None,
    params: dict[str, str],
) -> None:
    detail = server.find(question or {"id": "cats/0"}, **params).json()["detail"]
    asked = options if question else ("--id", "cats/0", *options)
    with pytest.raises(UserError) as refused:
        command_answer(searchable.folder, *asked)
    assert str(refused.value) == detail and "\n" not in detail


@pytest.mark.parametrize(
    ("question", "params", "status", "name", "said"),
    [
        ({"id": "no such"}, {}, 404, "not-found", "'no such'"),
        ({"id": "../../etc/passwd"}, {}, 404, "not-found", "no video"),
        ({"code": "00"}, {}, 422, "bad-request", "8 hexadecimal digits"),
        ({"code": "zzzzzzzz"}, {}, 422, "bad-request", "8 hexadecimal digits"),
        ({}, {}, 422, "bad-request", "either an id or a code"),
        ({"id": "cats/0", "code": "00000000"}, {}, 422, "bad-request", "either an id or a code"),
        ({"ids": "cats/0"}, {}, 422, "bad-request", "ids"),
        ({"id": "cats/0"}, {"count": 0}, 422, "bad-request", "query.count"),
        ({"id": "cats/0"}, {"min_seconds": "nan"}, 422, "bad-request", "min_seconds is 'nan'"),
    ],
)
def test_a_wrong_question_is_a_problem_that_says_what_is_allowed(
    server: Server, question: dict[str, str], params: dict[str, Any], status: int, name: str, said: str
) -> None:
    assert said in problem(server.find(question, **params), status, name)
    described = server.client.get(f"/problems/{name}").json()
    assert described["status"] == status


def test_videos_are_listed_page_by_page_and_described(server: Server) -> None:
    first = server.client.get("/videos", params={"count": 3}).json()
    second = server.client.get("/videos", params={"count": 3, "offset": 3}).json()
    assert first["total"] == second["total"] == 8
    ids = [video["id"] for video in first["videos"] + second["videos"]]
    assert ids == [f"{('cats', 'dogs')[number % 2]}/{number}" for number in range(6)]
    cats = server.client.get("/videos", params={"label": "cats", "offset": 1, "count": 2}).json()
    assert (cats["total"], [video["id"] for video in cats["videos"]]) == (4, ["cats/2", "cats/4"])

    described = server.client.get("/videos/cats/2").json()
    assert described["video"]["id"] == "cats/2" and described["file"]["frames"] == 24
    assert (described["file"]["width"], described["file"]["height"]) == (96, 96)
    assert server.client.get("/videos/cats%2F2").json() == described
    problem(server.client.get("/videos/cats"), 404, "not-found")


def test_pictures_and_the_file_itself_in_parts(server: Server, searchable: Searchable) -> None:
    with Image.open(io.BytesIO(server.client.get("/thumbnails/cats/0").content)) as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("JPEG", (96, 96))
    with Image.open(io.BytesIO(server.client.get("/previews/cats/0").content)) as preview:
        assert preview.format == "WEBP" and preview.n_frames > 4  # type: ignore[attr-defined]
    whole = searchable.clips["cats/0"].read_bytes()
    answer = server.client.get("/files/cats/0")
    assert answer.content == whole and answer.headers["content-type"] == "video/mp4"
    assert answer.headers["accept-ranges"] == "bytes"
    part = server.client.get("/files/cats/0", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole)}"
    end = server.client.get("/files/cats/0", headers={"Range": "bytes=-7"})
    assert (end.status_code, end.content) == (206, whole[-7:])
    beyond = server.client.get("/files/cats/0", headers={"Range": f"bytes={len(whole)}-"})
    problem(beyond, 416, "wrong-range")
    assert beyond.headers["content-range"] == f"bytes */{len(whole)}"
    problem(server.client.get("/files/cats/0", headers={"Range": "bytes=b-a"}), 416, "wrong-range")
    head = server.client.head("/files/cats/0")
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(whole)), b"")


def test_changes_need_the_token(server: Server) -> None:
    before = server.client.get("/index").json()["index"]
    decision = {"first": "cats/0", "second": "dogs/3", "decision": "duplicate"}
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic YTpi"}):
        for request in (
            ("POST", "/videos?id=new"),
            ("DELETE", "/videos/cats/0"),
            ("PUT", "/duplicates/decisions"),
        ):
            answer = server.client.request(
                *request, headers=headers, **({"json": decision} if request[0] == "PUT" else {})
            )
            problem(answer, 401, "no-token")
            assert answer.headers["www-authenticate"] == "Bearer"
    assert server.client.get("/index").json()["index"] == before
    assert server.client.get("/duplicates/decisions").json() == {"decisions": []}


def test_a_file_is_added_found_played_and_removed(
    server: Server, searchable: Searchable, tmp_path: Path
) -> None:
    write_video(tmp_path / "new.mp4", moving_picture(100), rate=Fraction(8), quality=20)
    clip = (tmp_path / "new.mp4").read_bytes()
    headers = {**server.with_token, "Content-Type": "video/mp4"}
    params = {"id": "my/new: clip", "label": ["birds", "small"]}
    before = server.client.get("/index").json()["index"]["version"]
    added = server.client.post("/videos", params=params, content=clip, headers=headers)
    assert added.status_code == 201, added.text
    version = added.json()["index"]
    assert version["videos"] == 9 and version["version"] != before
    hit = server.search(clip, count=1).json()["hits"][0]
    assert (hit["id"], hit["distance"], hit["labels"]) == ("my/new: clip", 0, ["birds", "small"])
    kept = searchable.folder / hit["path"]
    assert kept.parent == searchable.index / "uploads" and kept.read_bytes() == clip
    assert server.client.get("/files/my/new: clip").content == clip
    again = server.client.post("/videos", params=params, content=clip, headers=headers)
    assert "has a video" in problem(again, 409, "id-taken")
    # The features are kept for the next hasher, as those of `ssvh add` are.
    assert len(list((searchable.index / "added").glob("*.h5"))) == 1
    # The same bytes under another id: the file stays as long as one of the two is there.
    twin = server.client.post("/videos?id=twin", content=clip, headers=headers)
    assert twin.raise_for_status().json()["index"]["videos"] == 10
    server.client.delete("/videos/twin", headers=server.with_token).raise_for_status()
    assert kept.read_bytes() == clip
    removed = server.client.delete("/videos/my%2Fnew: clip", headers=server.with_token)
    assert removed.raise_for_status().json()["index"]["videos"] == 8
    assert not kept.exists()
    problem(server.client.get("/files/my/new: clip"), 404, "not-found")
    gone = server.client.delete("/videos/my%2Fnew: clip", headers=server.with_token)
    problem(gone, 404, "not-found")
    for wrong in ({"id": ""}, {"id": "a\nb"}, {"id": "a", "label": "b|c"}, {"id": "a" * 201}):
        answer = server.client.post("/videos", params=wrong, content=clip, headers=headers)
        problem(answer, 422, "bad-request")


@pytest.mark.parametrize("id", [".", "..", "../a", "a/../b", "a/.", "./a", "a/./b"])
def test_an_id_that_clients_make_another_address_of_is_refused(
    server: Server, searchable: Searchable, id: str
) -> None:
    clip = searchable.clips["cats/0"].read_bytes()
    headers = {**server.with_token, "Content-Type": "video/mp4"}
    answer = server.client.post("/videos", params={"id": id}, content=clip, headers=headers)
    assert repr(id) in problem(answer, 422, "bad-request")
    assert server.client.get("/index").json()["index"]["videos"] == 8


def test_an_id_with_dots_that_are_no_part_by_themselves_can_be_reached(
    server: Server, searchable: Searchable
) -> None:
    clip = searchable.clips["cats/0"].read_bytes()
    headers = {**server.with_token, "Content-Type": "video/mp4"}
    for id in (".a/..b...", "..."):
        server.client.post("/videos", params={"id": id}, content=clip, headers=headers).raise_for_status()
        assert server.client.get(f"/videos/{id}").json()["video"]["id"] == id
        server.client.delete(f"/videos/{id}", headers=server.with_token).raise_for_status()


def test_broken_uploads_are_problems_and_the_service_goes_on(server: Server, searchable: Searchable) -> None:
    whole = searchable.clips["cats/0"].read_bytes()
    secret = searchable.folder / "secret.mp4"
    secret.write_bytes(whole)
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{secret}\n#EXT-X-ENDLIST\n"
    for broken in (
        b"",
        b"no video",
        os.urandom(5000),
        whole[: len(whole) // 3],
        playlist.encode(),
        f"ffconcat version 1.0\nfile {secret}\n".encode(),
    ):
        problem(server.search(broken), 422, "unreadable-video")
    assert server.search(whole, count=1).json()["hits"][0]["distance"] == 0


def test_uploads_are_limited_in_size_length_and_type(server: Server, tmp_path: Path) -> None:
    large = b"\0" * 1_100_000
    assert "1 MB" in problem(server.search(large), 413, "too-large")
    chunks = (large[start : start + 100_000] for start in range(0, len(large), 100_000))
    answer = server.client.post("/search", content=chunks, headers={"Content-Type": "video/mp4"})
    problem(answer, 413, "too-large")
    write_video(tmp_path / "long.mp4", moving_picture(1, frames=48), rate=Fraction(8), quality=40)
    detail = problem(server.search((tmp_path / "long.mp4").read_bytes()), 413, "too-long")
    assert "6 seconds" in detail and "allowed are 5" in detail
    form = server.client.post("/search", data={"a": "b"})
    problem(form, 415, "wrong-type")


def test_uploads_are_limited_in_number(server: Server, searchable: Searchable) -> None:
    clip = searchable.clips["cats/0"].read_bytes()
    host, port = server.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=SECONDS) as slow:
        lines = (
            "POST /search HTTP/1.1",
            f"Host: {host}",
            "Content-Type: video/mp4",
            f"Content-Length: {len(clip)}",
        )
        head = "\r\n".join((*lines, "", ""))
        slow.sendall(head.encode() + clip[:100])
        until = time.monotonic() + SECONDS
        while "ssvh_uploads 1.0" not in server.client.get("/metrics").text:
            assert time.monotonic() < until
            time.sleep(0.05)
        answer = server.search(clip)
        assert "1 uploads" in problem(answer, 429, "too-many")
        assert int(answer.headers["retry-after"]) >= 1
        # A code is searched for meanwhile, and the upload that came first ends well.
        assert server.find({"id": "cats/0"}).status_code == 200
        slow.sendall(clip[100:])
        assert slow.makefile("rb").readline().startswith(b"HTTP/1.1 200")
    assert server.search(clip).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/files/../../../../etc/passwd",
        "/files/..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/files/%2fetc%2fpasswd",
        "/files/clips/cats/0.mp4",
        "/thumbnails/%2e%2e/secret",
        "/page/../app.py",
        "/page/..%2fapp.py",
        "/page/%2e%2e%2f%2e%2e%2f%2e%2e%2fparams.yaml",
    ],
)
def test_no_address_leads_to_a_path(server: Server, path: str) -> None:
    host, port = server.address.removeprefix("http://").split(":")
    # As it stands: a client would tidy it up.
    with socket.create_connection((host, int(port)), timeout=SECONDS) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 404"), answer[:200]
    assert b"root:" not in answer and b"import" not in answer


def test_what_is_no_video_is_not_given_out_whatever_the_index_says(
    searchable: Searchable, server: Server
) -> None:
    secret = searchable.folder / "secret.txt"
    secret.write_text("a secret")
    try:
        searchable.use(0, {"passwd": "/etc/passwd", "secret": "secret.txt", "gone": "gone.mp4", "none": ""})
        server.await_version(searchable.index)
        for video in ("passwd", "secret", "gone", "none"):
            for kind in ("files", "thumbnails", "previews"):
                problem(server.client.get(f"/{kind}/{video}"), 404, "file-gone")
            described = server.client.get(f"/videos/{video}").raise_for_status().json()
            assert described["file"] is None and described["no_file"]
    finally:
        searchable.use(0)
        server.await_version(searchable.index)


def test_a_page_of_another_site_gets_nothing_done(server: Server) -> None:
    for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", ""):
        answer = server.client.get("/videos", headers={"Host": host})
        if host:
            problem(answer, 421, "wrong-host")
        else:
            assert answer.status_code in (400, 421)
    for host in ("localhost", "127.0.0.1:1", "[::1]:8000"):
        assert server.client.get("/health", headers={"Host": host}).json() == {"status": "ok"}
    for site in ("cross-site", "same-site"):
        answer = server.client.post("/search", json={"id": "cats/0"}, headers={"Sec-Fetch-Site": site})
        problem(answer, 403, "cross-site")
    headers = server.client.get("/").headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["cross-origin-resource-policy"] == "same-origin"


def test_what_it_says_of_itself(server: Server) -> None:
    about = server.client.get("/index").json()
    assert about["takes_clips"] and about["has_card"] and about["exact"]
    assert about["labels"][0] == {"label": "pets", "videos": 8}
    assert about["limits"]["megabytes"] == 1
    assert server.find({"id": "cats/0"}, count=about["most_hits"]).status_code == 200
    assert server.find({"id": "cats/0"}, count=about["most_hits"] + 1).status_code == 422
    card = server.client.get("/hasher/card").json()
    assert "<strong>nothing</strong>" in card["html"] and "<script>" not in card["html"]
    described = server.client.get("/openapi.json").json()
    assert {"/search", "/videos", "/videos/{id}", "/duplicates", "/health", "/ready", "/metrics"} <= set(
        described["paths"]
    )
    docs = server.client.get("/docs").text
    assert "//cdn" not in docs and "https://" not in docs
    script = next(part.split('"')[0] for part in docs.split('src="')[1:])
    assert server.client.get(script).status_code == 200
    metrics = server.client.get("/metrics").text
    assert 'ssvh_requests_total{method="GET",route="/videos/{id:path}",status="404"}' in metrics
    assert "ssvh_index_videos 8.0" in metrics and 'version="' in metrics
    problem(server.client.get("/nothing"), 404, "not-found")
    problem(server.client.post("/health"), 405, "not-allowed")


def test_the_map_has_every_video_and_the_same_codes_in_the_same_place(server: Server) -> None:
    drawn = server.client.get("/map").json()
    assert len(drawn["ids"]) == len(drawn["x"]) == len(drawn["y"]) == len(drawn["label"]) == 8
    place = {video: (x, y) for video, x, y in zip(drawn["ids"], drawn["x"], drawn["y"], strict=True)}
    assert place["cats/0"] == place["dogs/3"] != place["dogs/1"]
    assert {drawn["labels"][number] for number in drawn["label"]} == {"cats", "dogs"}
    cluster = dict(zip(drawn["ids"], drawn["cluster"], strict=True))
    assert cluster["cats/0"] == cluster["dogs/3"] and set(cluster.values()) == {0, 1}
    assert server.client.get("/map").json() == drawn


def test_duplicates_are_decided_about_and_decisions_outlive_the_index(
    server: Server, searchable: Searchable
) -> None:
    groups = server.client.get("/duplicates", params={"radius": 0}).json()
    assert (groups["total"], groups["videos"]) == (1, 2)
    group = groups["groups"][0]
    assert group["first"]["id"] == "cats/0"
    assert [(one["id"], one["distance"], one["decision"]) for one in group["candidates"]] == [
        ("dogs/3", 0, None)
    ]
    change = {"first": "dogs/3", "second": "cats/0", "decision": "not a duplicate"}
    address = "/duplicates/decisions"
    decided = server.client.put(address, json=change, headers=server.with_token).raise_for_status().json()
    assert decided["decisions"][0]["decision"] == "not a duplicate"
    searchable.use(0)
    server.await_version(searchable.index)
    group = server.client.get("/duplicates", params={"radius": 0}).json()["groups"][0]
    assert group["candidates"][0]["decision"] == "not a duplicate"
    kept = server.client.get(address).json()["decisions"]
    assert [(one["first"], one["second"]) for one in kept] == [("cats/0", "dogs/3")]
    server.client.put(
        address, json={**change, "decision": None}, headers=server.with_token
    ).raise_for_status()
    assert server.client.get(address).json() == {"decisions": []}
    for wrong, status in (
        ({"second": "none"}, 404),
        ({"second": "dogs/3"}, 422),
        ({"decision": "maybe"}, 422),
    ):
        answer = server.client.put(address, json={**change, **wrong}, headers=server.with_token)
        assert answer.status_code == status
    problem(server.client.get("/duplicates", params={"radius": 33}), 422, "bad-request")


def test_a_decision_is_not_about_another_file_of_the_same_id(server: Server, searchable: Searchable) -> None:
    headers = {**server.with_token, "Content-Type": "video/mp4"}
    change = {"first": "night", "second": "cats/0", "decision": "duplicate"}

    def add(clip: str) -> None:
        content = searchable.clips[clip].read_bytes()
        server.client.post("/videos?id=night", content=content, headers=headers).raise_for_status()

    def decision() -> str | None:
        (group,) = server.client.get("/duplicates", params={"radius": 32}).json()["groups"]
        assert group["first"]["id"] == "cats/0"
        (found,) = [one["decision"] for one in group["candidates"] if one["id"] == "night"]
        decided: str | None = found
        return decided

    add("cats/0")
    server.client.put("/duplicates/decisions", json=change, headers=server.with_token).raise_for_status()
    assert decision() == "duplicate"
    server.client.delete("/videos/night", headers=server.with_token).raise_for_status()
    add("dogs/1")
    try:
        assert decision() is None
    finally:
        server.client.put(
            "/duplicates/decisions", json={**change, "decision": None}, headers=server.with_token
        ).raise_for_status()
        server.client.delete("/videos/night", headers=server.with_token).raise_for_status()


def test_somebody_else_who_changes_the_index_is_named_and_not_waited_for(
    server: Server, searchable: Searchable
) -> None:
    with IndexFolder(searchable.index).alone():
        answer = server.client.delete("/videos/cats/0", headers=server.with_token)
    assert str(os.getpid()) in problem(answer, 503, "busy")
    assert server.find({"id": "cats/0"}).status_code == 200


def test_an_index_that_is_made_anew_is_taken_over_though_its_versions_begin_anew(
    server: Server, searchable: Searchable
) -> None:
    shutil.rmtree(searchable.index)
    try:
        assert server.find({"id": "cats/0"}).status_code == 200  # what was loaded goes on answering
    finally:
        searchable.use(1)
    until = time.monotonic() + SECONDS_TO_SWITCH
    while server.client.get("/index").json()["index"]["bits"] != 48:
        assert time.monotonic() < until
        time.sleep(0.05)
    shutil.rmtree(searchable.index)
    searchable.use(0)
    while server.client.get("/index").json()["index"]["bits"] != 32:
        assert time.monotonic() < until
        time.sleep(0.05)


class TestStart:
    """What the command says, and how it ends."""

    @pytest.fixture
    def run(
        self, searchable: Searchable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> Callable[..., str]:
        monkeypatch.chdir(searchable.folder)
        monkeypatch.delenv("SSVH_TOKEN", raising=False)

        def run(*options: str) -> str:
            assert exit_status(lambda: app(["serve", *options], standalone_mode=True)) == 2
            said = capsys.readouterr().err
            assert said.startswith("error: ") and said.count("\n") == 1
            return said

        return run

    def test_beyond_this_machine_it_wants_a_token(self, run: Callable[..., str]) -> None:
        assert "SSVH_TOKEN is not set" in run("--host", "0.0.0.0", "--port", "0")

    def test_without_an_index_it_does_not_start(self, run: Callable[..., str]) -> None:
        assert "there is no index" in run("--index", "nowhere")

    def test_a_port_that_is_taken_is_named(self, run: Callable[..., str]) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            assert f"port {port}" in run("--port", str(port))

    def test_small_answers_are_sent_at_once(self) -> None:
        """asyncio does that on sockets that say what their protocol is; others wait 40 ms for more to
        send.
        """
        from flows.commands.serve import listening

        with listening("127.0.0.1", 0) as listener:
            assert listener.proto == socket.IPPROTO_TCP

    def test_no_other_command_waits_for_the_web_side(self) -> None:
        look = "print(sorted({'fastapi', 'uvicorn', 'torch'} & set(sys.modules)))"
        program = f"import sys; from flows.cli.app import app; {look}"
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=True
        )
        assert done.stdout == "[]\n"

    def test_a_token_is_made_and_printed_and_a_kill_leaves_nothing_behind(
        self, searchable: Searchable
    ) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.cli", "serve", "--port", "0"],
            cwd=searchable.folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        address = lines[0].split()[-1]
        token = lines[2].split()[1]
        assert len(token) > 20
        workers: list[psutil.Process] = []
        until = time.monotonic() + 300
        while not workers:
            assert time.monotonic() < until
            workers = psutil.Process(process.pid).children(recursive=True)
            time.sleep(0.1)
        change = httpx.delete(
            f"{address}videos/none", headers={"Authorization": f"Bearer {token}"}, timeout=300
        )
        assert change.status_code in (404, 503)  # not 401; perhaps not ready yet
        process.send_signal(signal.SIGKILL)
        process.wait()
        _, alive = psutil.wait_procs(workers, timeout=300)
        assert not alive


def kill_encoder(server: Server) -> None:
    """In the middle of a question, as the system does where memory is short."""
    service = psutil.Process(server.process.pid)
    until = time.monotonic() + SECONDS_TO_SWITCH
    while time.monotonic() < until:
        with contextlib.suppress(psutil.Error):  # others come and go
            for one in service.children(recursive=True):
                if "tasks.serving.encoder" in one.cmdline() and one.cpu_percent(0.05) > 0:
                    one.kill()
                    return
    pytest.fail("no encoder is at work")


@pytest.mark.slow
def test_new_versions_a_rollback_and_killed_encoders_cost_no_failed_or_mixed_answer_under_load(
    searchable: Searchable,
) -> None:
    """Each answer is wholly of one hasher: its bits, its code of the query, its distances."""
    expected = {}
    for number in (1, 0):
        videos = searchable.use(number)
        searcher = Searcher(searchable.index)
        expected[videos.hasher.sha256] = {
            "bits": videos.bits,
            "code": videos.codes[1].tobytes().hex(),
            "hits": [(hit.id, hit.distance) for hit in searcher.nearest_to_codes(videos.codes[1:2], 8)[0]],
        }
    clip = searchable.clips["dogs/1"].read_bytes()
    answers: list[tuple[str, int, dict[str, Any]]] = []
    ended = threading.Event()
    with serving(searchable.folder, "--uploads", "4") as server:

        def hammer(kind: str) -> None:
            with httpx.Client(base_url=server.address, timeout=300) as client:
                while not ended.is_set():
                    if kind == "clip":
                        headers = {"Content-Type": "video/mp4"}
                        answer = client.post("/search?count=8", content=clip, headers=headers)
                    else:
                        answer = client.post("/search?count=7", json={"id": "dogs/1"})
                    answers.append((kind, answer.status_code, answer.json()))

        threads = [threading.Thread(target=hammer, args=(kind,)) for kind in ("clip", "clip", "id", "id")]
        for thread in threads:
            thread.start()
        try:
            for number in (1, 0, 1):
                searchable.use(number)
                server.await_version(searchable.index)
                kill_encoder(server)
                until = time.monotonic() + SECONDS_TO_SWITCH
                # Some clips by the new one.
                enough = sum(kind == "clip" for kind, _, _ in answers) + 2
                while sum(kind == "clip" for kind, _, _ in list(answers)) < enough:
                    assert time.monotonic() < until
                    time.sleep(0.05)
        finally:
            ended.set()
            for thread in threads:
                thread.join()
    by_hasher = {digest: 0 for digest in expected}
    for kind, status, answer in answers:
        assert status == 200, answer
        digest = answer["index"]["hasher"]["sha256"]
        right = expected[digest]
        found = [(hit["id"], hit["distance"]) for hit in answer["hits"]]
        wanted = right["hits"] if kind == "clip" else [hit for hit in right["hits"] if hit[0] != "dogs/1"]
        assert (answer["index"]["bits"], answer["query"]["code"], found) == (
            right["bits"],
            right["code"],
            wanted,
        )
        by_hasher[digest] += 1
    assert all(by_hasher.values()), by_hasher
