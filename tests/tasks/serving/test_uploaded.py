"""Films that are uploaded, beside the same films that `ssvh add` has cut."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest

from ssvh_model.index.filters import Filters, Wanted
from ssvh_model.index.index import open_index
from ssvh_model.index.searcher import Searcher
from ssvh_model.model.hasher_file import hasher_digest
from ssvh_model.moments.film_features import FilmFile, is_film_file
from ssvh_model.progress import no_progress
from tasks import paths
from tasks.index.build import add_videos, settings_of
from tasks.index.given_videos import encode_videos, find_given_videos
from tasks.index.refresh import refresh_index
from tasks.params.changes import with_changes
from tasks.params.sections import Params
from tasks.registry.find_hasher import find_hasher
from tasks.serving.limits import Limits
from tasks.serving.problems import ENDING, ID_TAKEN, NOT_READY, TOO_LONG, Problem
from tasks.serving.service import SearchService
from tests.films import SEGMENTS, cut, cut_shots, rows_of, silent, start_index
from tests.index_places import in_both

SECONDS = 600.0  # for something that takes a moment on a machine with nothing else to do


def on_cpu(params: Params) -> Params:
    """The service has no other device; another one gives other last digits."""
    return with_changes(params, {"running.device": "cpu"}, where="test")


@contextlib.contextmanager
def service_at(
    place: str, limits: Limits | None = None, say: Callable[[str], None] = lambda line: None
) -> Iterator[SearchService]:
    service = SearchService(place, limits or Limits(), say=say)
    service.take_over()
    service.start()
    try:
        yield service
    finally:
        service.stop()


def upload(service: SearchService, file: Path, video: str, *labels: str) -> None:
    """Add a copy, which the service moves away."""
    copy = Path("arrived")
    shutil.copy(file, copy)
    service.add(copy, video, labels)
    assert [path.name for path in Path().glob("arrived*")] == []


def assert_cut_alike(place: str, video: str, other: str) -> None:
    one, two = rows_of(place, video), rows_of(place, other)
    assert len(one) > 5 and np.array_equal(one.spans, two.spans)
    assert np.array_equal(one.codes, two.codes) and np.array_equal(one.durations, two.durations)


def until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.01)


@in_both
@pytest.mark.parametrize(
    "segments",
    [pytest.param(SEGMENTS, id="even"), pytest.param("shots", id="shots", marks=pytest.mark.slow)],
)
@pytest.mark.slow
def test_an_uploaded_film_is_cut_as_the_command_cuts_it(
    film_project: Path, place: str, segments: object
) -> None:
    params = on_cpu(start_index(place, segments))
    film = Path("shots/shots-1.mp4" if segments == "shots" else "films/film-1.mp4")
    add_videos(place, [film], params, hasher=None, label=None, say=print, progress=silent)
    with service_at(place) as service:
        upload(service, film, "uploaded", "new")
        upload(service, Path("clip.mp4"), "short")
        assert service.view.version.videos == 4 and not service.uploaded.films
        assert_cut_alike(place, "uploaded", film.stem)
        assert len(rows_of(place, "short")) == 1
        index = open_index(place)  # which keeps copies of what is in a database
        by_command, mine, short = index.kept_features()[1:]
        assert is_film_file(mine) and not is_film_file(short)
        one, two = FilmFile(mine), FilmFile(by_command)
        assert (one.facts.id, one.facts.sha256) == ("uploaded", two.facts.sha256)
        assert np.array_equal(one.read(0, len(one)), two.read(0, len(two)))

        # Found inside, where the clip is; it is one video, and goes as one.
        row = service.view.row("uploaded")
        assert service.view.spans(row) == [tuple(span) for span in one.facts.spans.round(3).tolist()]
        clip, start = (
            (cut_shots(film_project, 1, 4.0, 12.0), 4.0)
            if segments == "shots"
            else (cut(film_project, 1, 4.5, 4.0), 4.5)
        )
        found = service.search_clip(clip, Wanted(9, rerank="features"), Filters(labels=("new",)))
        assert [hit.id for hit in found.hits] == ["uploaded"] and abs(found.hits[0].start - start) <= 0.3
        by_library = {hit.id: hit for hit in Searcher(place).nearest(clip, 9, rerank="features")}
        assert by_library["uploaded"].start == pytest.approx(found.hits[0].start, abs=2e-3)
        with pytest.raises(Problem) as taken:
            upload(service, film, "uploaded")
        assert taken.value.kind is ID_TAKEN
        Path("arrived").unlink()
        kept = Path(service.view.videos.paths[row])
        assert kept.read_bytes() == film.read_bytes()
        service.remove("uploaded")
        assert not len(rows_of(place, "uploaded")) and not kept.exists()
        upload(service, film, "uploaded")
        assert_cut_alike(place, "uploaded", film.stem)


@pytest.mark.parametrize(
    ("features", "place"),
    [
        ("kept", "folder"),
        pytest.param("gone", "folder", marks=[pytest.mark.slow, pytest.mark.nightly]),
        pytest.param("kept", "postgres", marks=[pytest.mark.slow, pytest.mark.nightly]),
        pytest.param("gone", "postgres", marks=pytest.mark.slow),
    ],
    indirect=["place"],
)
@pytest.mark.slow
def test_a_new_champion_takes_over_what_was_uploaded_while_clips_are_searched_for(
    film_project: Path, place: str, features: str
) -> None:
    params = on_cpu(start_index(place))
    add_videos(place, [Path("films/film-1.mp4")], params, hasher=None, label=None, say=print, progress=silent)
    clip, ended, found = cut(film_project, 1, 6.0, 4.0), threading.Event(), []

    def search() -> None:
        while not ended.is_set():
            found.append(service.search_clip(clip, Wanted(2), Filters()))

    with service_at(place) as service:
        upload(service, Path("films/film-1.mp4"), "uploaded")
        before = rows_of(place, "uploaded")
        if features == "gone" and place == str(paths.INDEX):
            shutil.rmtree("index/added")
        elif features == "gone":
            with psycopg.connect(place) as connection:
                connection.execute("DELETE FROM ssvh.feature_files")
        searching = threading.Thread(target=search)
        searching.start()
        try:
            assert refresh_index(params, hasher="./hasher-2", say=print, progress=silent)
            until(lambda: bool(found) and found[-1].version.hasher.sha256 == hasher_digest(Path("hasher-2")))
        finally:
            ended.set()
            searching.join()
        assert_cut_alike(place, "uploaded", "film-1")
        after = rows_of(place, "uploaded")
        assert np.array_equal(after.spans, before.spans) and not np.array_equal(after.codes, before.codes)
        assert after.paths == before.paths
        for answer in found:
            assert {hit.id for hit in answer.hits} == {"film-1", "uploaded"}
            assert len({(hit.start, hit.end, hit.distance) for hit in answer.hits}) == 1
        upload(service, Path("films/film-2.mp4"), "by the new one")
        assert len(rows_of(place, "by the new one")) == len(after)


@pytest.mark.slow
def test_a_film_whose_hasher_is_replaced_meanwhile_is_not_decoded_again(
    film_project: Path, place: str
) -> None:
    params, index = on_cpu(start_index(place)), open_index(place)
    source = find_hasher("./hasher-2", model="")
    videos = find_given_videos([Path("clip.mp4")], params, label=None, progress=no_progress)
    by_other = encode_videos(videos, source, params, segments=None, progress=silent).coded
    decoded: list[float] = []
    with service_at(place) as service:
        adding = threading.Thread(target=upload, args=(service, Path("films/film-0.mp4"), "uploaded"))
        film = service.decoding.film

        def counted(*given: object, seconds: float, **more: object) -> object:
            decoded.append(seconds)
            return film(*given, seconds=seconds, **more)  # type: ignore[arg-type]

        service.decoding.film = counted  # type: ignore[method-assign, assignment]
        with index.alone():  # somebody else is changing the index, whom the film waits for
            adding.start()
            until(lambda: bool(decoded) and not service.uploaded.films)
            index.replace(by_other, source.folder, settings_of(params), seed=1)
        adding.join(SECONDS)
        assert not adding.is_alive() and decoded == [12.0]
        rows = rows_of(place, "uploaded")
        assert len(rows) == 11 and rows.hasher.sha256 == source.sha256
    add_videos(place, [Path("films/film-0.mp4")], params, hasher=None, label=None, say=print, progress=silent)
    assert_cut_alike(place, "uploaded", "film-0")


def test_a_film_that_waits_for_its_turn_is_given_up_when_the_service_ends(
    film_project: Path, place: str
) -> None:
    start_index(place)
    problems: list[Problem] = []

    def add() -> None:
        with pytest.raises(Problem) as given_up:
            upload(service, Path("films/film-0.mp4"), "uploaded")
        problems.append(given_up.value)

    said: list[str] = []
    with service_at(place, say=said.append) as service, open_index(place).alone():
        adding = threading.Thread(target=add)
        adding.start()
        until(lambda: bool(service.uploaded.films))
        until(lambda: not service.uploaded.films)  # it is decoded
        service.leave_films()
        adding.join(SECONDS)
        assert not adding.is_alive() and not len(rows_of(place, "uploaded"))
    (problem,) = problems
    assert problem.kind is ENDING and problem.detail in said and "'uploaded' was not added" in problem.detail


def test_what_is_beyond_a_limit_says_how_to_raise_it_and_a_wrong_params_yaml_is_named(
    film_project: Path, place: str
) -> None:
    start_index(place)
    with service_at(place, Limits(seconds=11)) as service:
        with pytest.raises(Problem) as long:
            upload(service, Path("films/film-0.mp4"), "long")
        assert long.value.kind is TOO_LONG and "allowed are 11" in long.value.detail
        assert "`ssvh serve --seconds`" in long.value.detail
        text = paths.PARAMS.read_text(encoding="utf-8")
        paths.PARAMS.write_text(text.replace("overlap': 0.5", "overlap': 2.0"), encoding="utf-8")
        with pytest.raises(Problem, match=r"index\.segments") as wrong:
            upload(service, Path("clip.mp4"), "clip-2")
        assert wrong.value.kind is NOT_READY
        paths.PARAMS.unlink()
        upload(service, Path("clip.mp4"), "clip-2")
        assert service.view.version.videos == 2
