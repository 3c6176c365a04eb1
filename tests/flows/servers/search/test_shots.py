"""`ssvh serve` in front of films that are cut in several ways: a clip is cut in each of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ssvh_model.index.searcher import Searcher
from tasks import paths
from tasks.index.build import add_videos
from tasks.params.changes import with_changes
from tests.browser import SECONDS_TO_SHOW, chromium, find_browser
from tests.films import cut, cut_shots, make_films, silent, start_index, write_shots
from tests.serving import Server, serving


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with an index of a whole clip, films in shots, and films in segments of 2 and of 8
    seconds.
    """
    folder = tmp_path_factory.mktemp("shots")
    make_films(folder)
    write_shots(folder)
    with contextlib.chdir(folder):
        params = start_index(segments="shots")
        for place, segments in (
            ("shots", "shots"),
            ("films/film-0.mp4", {"seconds": 2.0, "overlap": 0.5}),
            ("films/film-1.mp4", {"seconds": 8.0, "overlap": 0.5}),
        ):
            cutting = with_changes(params, {"index.segments": segments}, where="test")
            add_videos(
                paths.INDEX, [Path(place)], cutting, hasher=None, label=None, say=print, progress=silent
            )
    return folder


@pytest.fixture(scope="module")
def server(films: Path) -> Iterator[Server]:
    with serving(films) as started:
        yield started


@pytest.mark.slow
@pytest.mark.parametrize("rerank", ["none", "features"])
def test_a_clip_finds_what_the_library_finds_however_films_are_cut(
    server: Server, films: Path, rerank: str
) -> None:
    for clip in (cut_shots(films, 1, 4.0, 12.0), cut_shots(films, 2, 8.5, 5.0), cut(films, 0, 4.5, 4.0)):
        answer = server.search(clip.read_bytes(), count=6, rerank=rerank).raise_for_status().json()
        expected = Searcher(films / "index").nearest(clip, 6, rerank=rerank)  # type: ignore[arg-type]
        assert [(hit["id"], hit["distance"]) for hit in answer["hits"]] == [
            (hit.id, hit.distance) for hit in expected
        ]
        for hit, by_library in zip(answer["hits"], expected, strict=True):
            assert hit["start"] == pytest.approx(by_library.start, abs=2e-3)
    best = server.search(cut_shots(films, 1, 4.0, 12.0).read_bytes()).json()["hits"][0]
    assert (best["id"], best["start"], best["end"]) == ("shots-1", pytest.approx(4.0), pytest.approx(16.0))


@pytest.mark.slow
def test_the_page_shows_where_the_clip_is(server: Server, films: Path) -> None:
    if (program := find_browser()) is None:
        pytest.skip("needs Chromium, which is not installed")
    with chromium(program) as running:
        tab = running.new_context(
            viewport={"width": 1400, "height": 1000}, base_url=server.address
        ).new_page()
        tab.set_default_timeout(SECONDS_TO_SHOW * 1000)
        tab.goto("/")
        tab.wait_for_selector("#results .card")
        tab.set_input_files("#clip", cut_shots(films, 1, 4.0, 12.0))
        tab.locator("#results-title", has_text="Nearest to").wait_for()
        first = tab.locator("#results .card").first
        first.locator("h3", has_text="shots-1").wait_for()
        assert first.locator(".facts span", has_text=" to ").inner_text().startswith("0:04")
