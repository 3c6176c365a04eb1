"""`ssvh serve` in front of films: a clip finds the moment that it shows, by HTTP and on the page, which plays
from there.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ssvh_model.index.index import open_index
from ssvh_model.index.searcher import Searcher
from ssvh_model.model.hasher_file import load_grade_net, load_saved_hasher
from ssvh_model.moments.film_features import FilmFile, is_film_file
from ssvh_model.pictures.scored_frames import highest_scored
from tasks import paths
from tasks.index.build import add_videos
from tasks.serving.decoder import GAP
from tests.browser import SECONDS_TO_SHOW, chromium, find_browser
from tests.films import FILMS, FRAMES, RATE, SCENE, SCENES, cut, make_films, scenes, silent, start_index
from tests.serving import TOKEN, Server, command_answer, serving, without_time

START, SECONDS = 4.5, 4.0  # of a query


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with an index of a whole clip and of films, in segments."""
    folder = tmp_path_factory.mktemp("films")
    make_films(folder)
    with contextlib.chdir(folder):
        params, places = start_index(), [Path("films")]
        add_videos(paths.INDEX, places, params, hasher=None, label=None, say=print, progress=silent)
    return folder


@pytest.fixture(scope="module")
def server(films: Path) -> Iterator[Server]:
    with serving(films) as started:
        yield started


def test_a_clip_finds_the_moment_that_the_library_finds(server: Server, films: Path) -> None:
    clip = cut(films, 1, START, SECONDS)
    for rerank in ("none", "features"):
        for group in ("video", "none"):
            answer = (
                server.search(clip.read_bytes(), count=5, rerank=rerank, group=group)
                .raise_for_status()
                .json()
            )
            expected = Searcher(films / "index").nearest(clip, 5, rerank=rerank, group=group)  # type: ignore[arg-type]
            assert [(hit["id"], hit["distance"]) for hit in answer["hits"]] == [
                (hit.id, hit.distance) for hit in expected
            ]
            for hit, by_library in zip(answer["hits"], expected, strict=True):
                assert hit["start"] == pytest.approx(by_library.start, abs=2e-3)
                assert hit["likeness"] == pytest.approx(by_library.likeness, abs=1e-3)
    best = server.search(clip.read_bytes(), rerank="features").json()["hits"][0]
    assert best["id"] == "film-1" and abs(best["start"] - START) <= 0.3 and best["seconds"] == SCENES * SCENE


@pytest.mark.slow
def test_the_command_answers_as_the_service_does(server: Server, films: Path) -> None:
    clip = cut(films, 1, START, SECONDS)
    shorter = cut(films, 2, 3.0, 1.5)
    for rerank in ("none", "features"):
        for group in ("video", "none"):
            for filters, params in (
                ((), {}),
                (("--text", "FILM", "--max-distance", "9"), {"text": "FILM", "max_distance": 9}),
            ):
                options = ("-k", "5", "--rerank", rerank, "--group", group, *filters)
                more: dict[str, Any] = {"count": 5, "rerank": rerank, "group": group, **params}
                for video in (clip, shorter):
                    by_http = server.search(video.read_bytes(), **more).raise_for_status().json()
                    assert command_answer(films, str(video), *options) == without_time(by_http), options
                question: dict[str, Any] = {"id": "film-2", "start": 6.0}
                by_http = server.find(question, **more).raise_for_status().json()
                found = command_answer(films, "--id", "film-2", "--start", "6", *options)
                assert found == without_time(by_http), options


def test_a_film_is_one_video_that_comes_once(server: Server) -> None:
    about = server.client.get("/index").json()
    assert about["index"]["videos"] == FILMS + 1 and about["films"]
    listed = server.client.get("/videos").json()
    assert listed["total"] == FILMS + 1
    assert [video["id"] for video in listed["videos"]] == ["clip", *(f"film-{film}" for film in range(FILMS))]
    assert sorted(server.client.get("/map").json()["ids"]) == sorted(
        video["id"] for video in listed["videos"]
    )
    found = server.find({"id": "film-2", "start": 6.0}, count=9).raise_for_status().json()  # type: ignore[dict-item]
    assert {hit["id"] for hit in found["hits"]} == {"clip", "film-0", "film-1"}
    code = found["query"]["code"]
    best = server.find({"code": code}, count=1).json()["hits"][0]
    assert (best["id"], best["start"], best["end"], best["distance"]) == ("film-2", 6.0, 8.0, 0)
    by_frames = server.find({"id": "film-2", "start": 6.0}, count=9, rerank="features").json()["hits"]  # type: ignore[dict-item]
    assert all(hit["likeness"] is not None for hit in by_frames)


def test_a_picture_of_a_moment_is_what_the_film_shows_then(server: Server) -> None:
    for seconds in (1.0, 7.3):
        answer = server.client.get("/thumbnails/film-1", params={"at": seconds}).raise_for_status()
        picture = np.asarray(Image.open(io.BytesIO(answer.content))).astype(float)
        expected = scenes(1)[int(seconds * RATE)].astype(float)
        assert np.abs(picture - expected).mean() < 15
    assert server.client.get("/thumbnails/film-1", params={"at": -1}).status_code == 422


def test_the_frames_that_the_sampler_scored_highest_are_shown_side_by_side(
    server: Server, films: Path
) -> None:
    assert server.client.get("/index").json()["scores_frames"]
    index, hasher, meta = open_index(films / "index"), *load_saved_hasher(films / "hasher-1")
    grade_net = load_grade_net(films / "hasher-1", hasher)
    assert grade_net is not None
    kept = [FilmFile(path) for path in index.kept_features() if is_film_file(path)]
    film = next(one for one in kept if one.facts.id == "film-1")
    start = 4.0  # of a segment, which has as many frames as the hasher looks at
    first = round(start / film.facts.step)
    of_segment = torch.from_numpy(film.read(first, FRAMES)).float()[None]
    with torch.no_grad():
        scores = grade_net(hasher.embed(hasher.center(of_segment)))[0].numpy()
    seconds = start + (highest_scored(scores, 3) + 0.5) * film.facts.step
    asked = {"start": start, "end": start + film.facts.step * FRAMES}
    answer = server.client.get("/frames/film-1", params=asked).raise_for_status()
    picture = np.asarray(Image.open(io.BytesIO(answer.content))).astype(float)
    assert meta == film.facts.meta and len(seconds) == 3
    side = len(picture)
    for place, second in enumerate(seconds):
        shown = picture[:, place * (side + GAP) :][:, :side]
        assert np.abs(shown - scenes(1)[int(second * RATE)].astype(float)).mean() < 15
    for video in ("film-1", "clip"):
        whole = Image.open(io.BytesIO(server.client.get(f"/frames/{video}").raise_for_status().content))
        assert whole.size == (3 * whole.height + 2 * GAP, whole.height)
    assert server.client.get("/frames/nothing").status_code == 404
    assert server.client.get("/frames/film-1", params={"start": -1}).status_code == 422


def test_an_uploaded_film_is_cut_found_inside_and_removed_as_a_whole(server: Server, films: Path) -> None:
    film = (films / "films" / "film-1.mp4").read_bytes()
    headers = {**server.with_token, "Content-Type": "video/mp4"}
    added = server.client.post("/videos?id=uploaded&label=new", content=film, headers=headers)
    assert added.raise_for_status().json()["index"]["videos"] == FILMS + 2
    by_command, mine = (server.client.get(f"/videos/{video}").json() for video in ("film-1", "uploaded"))
    assert mine["spans"] == by_command["spans"] and mine["spans"][:2] == [[0.0, 2.0], [1.0, 3.0]]
    assert mine["video"]["seconds"] == mine["spans"][-1][1] == SCENES * SCENE
    assert mine["file"] == by_command["file"]
    assert server.client.get("/videos/clip").json()["spans"] == [[0.0, 1.5]]
    assert server.client.get("/additions").json() == {"films": []}
    clip = cut(films, 1, START, SECONDS).read_bytes()
    hit = server.search(clip, label="new", rerank="features").json()["hits"][0]
    assert hit["id"] == "uploaded" and abs(hit["start"] - START) <= 0.3
    assert server.find({"id": "uploaded", "start": 6.0}, count=1).json()["hits"][0]["id"] == "film-1"  # type: ignore[dict-item]
    removed = server.client.delete("/videos/uploaded", headers=server.with_token).raise_for_status()
    assert removed.json()["index"]["videos"] == FILMS + 1
    every = server.search(clip, count=500, group="none").json()["hits"]
    assert {hit["id"] for hit in every} == {"clip", *(f"film-{film}" for film in range(FILMS))}


@pytest.mark.slow
def test_the_page_adds_a_film_and_plays_from_the_moment(server: Server, films: Path) -> None:
    if (program := find_browser()) is None:
        pytest.skip("needs Chromium, which is not installed")
    clip, film = cut(films, 7, START, SECONDS), cut(films, 7, 0.0, SCENES * SCENE)
    with chromium(program) as running:
        tab = running.new_context(
            viewport={"width": 1400, "height": 1000}, base_url=server.address
        ).new_page()
        tab.set_default_timeout(SECONDS_TO_SHOW * 1000)
        tab.goto("/")
        tab.wait_for_selector("#results .card")
        tab.set_input_files("#clip", film)
        tab.get_by_role("button", name="Add it to the index").click()
        tab.fill("#adding-id", "film-7")
        tab.locator("#adding").get_by_role("button", name="Add", exact=True).click()
        tab.fill("#token-value", TOKEN)
        tab.keyboard.press("Enter")
        tab.locator("#status", has_text="film-7 was added").wait_for()
        tab.set_input_files("#clip", clip)
        tab.locator("#results-title", has_text=f"Nearest to {clip.name}").wait_for()
        tab.select_option("#rerank", "features")
        tab.locator("#results .distance", has_text="likeness").first.wait_for()
        first = tab.locator("#results .card").first
        assert first.locator("h3").inner_text() == "film-7"
        assert first.locator(".facts span", has_text=" to ").inner_text().startswith("0:04.")
        names = tab.locator("#results .card h3")
        assert names.all_inner_texts().count("film-7") == 1
        tab.select_option("#rerank", "")
        tab.check("#moments")
        tab.wait_for_function(
            "() => [...document.querySelectorAll('#results .card h3')].filter((one) => one.innerText === 'film-7').length > 1"
        )
        moments = tab.locator("#results .card").count()
        tab.locator(
            "#status", has_text=f"{moments} moments in {len({*names.all_inner_texts()})} videos of"
        ).wait_for()
        assert first.locator(".scored").get_attribute("alt", timeout=0)
        tab.wait_for_function("() => document.querySelector('#results .scored').naturalWidth > 0")
        first.locator(".screen").click()
        tab.locator("#details dt", has_text="found at").wait_for()
        tab.locator("#details dd", has_text="11 segments").wait_for()
        tab.wait_for_function(
            "start => { const video = document.querySelector('#details-screen video, #details-screen img');"
            " return video && (video.tagName === 'IMG' ? video.naturalWidth > 0 : video.currentTime > start); }",
            arg=START - 0.5,
        )
