"""`ssvh serve` in front of an index in PostgreSQL that others change, too."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from ssvh_model.index.index import open_index
from ssvh_model.index.searcher import Searcher
from ssvh_model.index.settings import IndexSettings
from ssvh_model.video.encoding import write_video
from tests.serving import CARD, Searchable, Server, moving_picture, serving

SECONDS_TO_SWITCH = 300.0


def until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + SECONDS_TO_SWITCH
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.05)


def about(server: Server) -> dict[str, Any]:
    index: dict[str, Any] = server.client.get("/index").json()["index"]
    return index


@pytest.mark.slow
def test_it_searches_changes_and_takes_over_what_others_change(
    searchable: Searchable, vector_database: str, tmp_path: Path
) -> None:
    index = open_index(vector_database)
    videos = searchable.coded(0, {})
    with index.alone():
        index.replace(videos, searchable.hashers[0], IndexSettings(10**6, 8, 4), seed=1, card=CARD)
    shutil.rmtree(searchable.index)
    clip = searchable.clips["dogs/1"].read_bytes()
    with serving(searchable.folder, "--index", vector_database) as server:
        assert about(server)["videos"] == 8
        assert "A hasher of the tests" in server.client.get("/hasher/card").text
        hits = server.search(clip, count=5).json()["hits"]
        found = Searcher(vector_database).nearest(searchable.clips["dogs/1"], 5)
        assert [(hit["id"], hit["distance"]) for hit in hits] == [(hit.id, hit.distance) for hit in found]

        # Through the service.
        write_video(tmp_path / "new.mp4", moving_picture(100), rate=Fraction(8), quality=20)
        new = (tmp_path / "new.mp4").read_bytes()
        headers = {**server.with_token, "Content-Type": "video/mp4"}
        added = server.client.post("/videos?id=new", content=new, headers=headers).raise_for_status()
        assert added.json()["index"]["videos"] == index.snapshot().videos == 9
        assert server.search(new, count=1).json()["hits"][0]["id"] == "new"
        assert server.client.get("/files/new").content == new
        assert index.known(["new"])["new"].sha256 and len(index.kept_features()) == 1
        server.client.delete("/videos/new", headers=server.with_token).raise_for_status()
        assert index.snapshot().removed_ids() == {"new"} and not list(
            (searchable.index / "uploads").iterdir()
        )
        decision = {"first": "cats/0", "second": "dogs/3", "decision": "duplicate"}
        changed = server.client.put("/duplicates/decisions", json=decision, headers=server.with_token)
        changed.raise_for_status()
        (group,) = server.client.get("/duplicates", params={"radius": 0}).json()["groups"]
        assert [one["decision"] for one in group["candidates"]] == ["duplicate"]

        # Past the service.
        with index.alone():
            refused = server.client.delete("/videos/cats/0", headers=server.with_token)
            assert refused.status_code == 503 and "is changing this index" in refused.text
            index.add(replace(videos.rows([0]), ids=["from elsewhere"]))
        until(lambda: about(server)["videos"] == 9)
        assert server.find({"id": "from elsewhere"}).status_code == 200
        with index.alone():
            index.replace(searchable.coded(1, {}), searchable.hashers[1], IndexSettings(10**6, 8, 4), seed=1)
        until(lambda: about(server)["bits"] == 48)
        hit = server.search(clip, count=1).json()["hits"][0]
        assert (hit["id"], hit["distance"]) == ("dogs/1", 0)
        assert not (searchable.index / "current.json").exists()
