"""Films in an index: real files are added in segments, found by what was cut out of them, refreshed and taken
out.
"""

from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psycopg
import pytest

from flows.cli.app import app, exit_status
from ssvh_model.index.index import open_index
from ssvh_model.index.searcher import Hit, Searcher
from ssvh_model.index.video_encoder import VideoEncoder
from ssvh_model.model.hasher_file import hasher_digest, load_saved_hasher
from ssvh_model.moments.film_features import FilmFile, is_film_file
from ssvh_model.video.decoding import sample_frames
from tasks import paths
from tasks.index.build import Addition, add_videos, remove_videos
from tasks.index.refresh import refresh_index
from tasks.params.changes import with_changes
from tasks.params.sections import Params
from tests.films import FRAMES, RATE, SCENE, SCENES, cut, silent, start_index
from tests.index_places import in_both


@dataclass
class Project:
    """A project with films, two hashers in folders, and an index by the first with one whole clip."""

    params: Params
    place: str

    def add(self, *places: str) -> Addition:
        return add_videos(
            self.place,
            [Path(place) for place in places],
            self.params,
            hasher=None,
            label=None,
            say=print,
            progress=silent,
        )


@pytest.fixture
def project(film_project: Path, place: str) -> Project:
    return Project(start_index(place), place)


def codes(place: str) -> dict[tuple[str, float], bytes]:
    whole = open_index(place).snapshot(loaded=True).whole()
    starts = whole.spans[:, 0].tolist()
    return {
        (video, start): code.tobytes()
        for video, start, code in zip(whole.ids, starts, whole.codes, strict=True)
    }


def by_each_segment(hasher: Path, film: int) -> dict[tuple[str, float], bytes]:
    """Naively: every segment's frames are picked out of all frames of the film, and go through the backbone
    by themselves.
    """
    encoder = VideoEncoder(*load_saved_hasher(hasher))
    frames = sample_frames(Path(f"films/film-{film}.mp4"), int(SCENES * SCENE * RATE), longer_side=512).frames
    found = {}
    for start in np.arange(0, SCENES * SCENE - 1.5, 1.0).tolist():
        times = start + (np.arange(FRAMES) + 0.5) / FRAMES * 2.0
        picked = frames[(times * RATE + 1e-6).astype(int)]
        features = encoder.backbone.features(encoder.backbone.prepare(picked)).half().numpy()
        found[f"film-{film}", start] = encoder.codes_of(features[None])[0].tobytes()
    return found


def apart(one: bytes, other: bytes) -> int:
    return sum((a ^ b).bit_count() for a, b in zip(one, other, strict=True))


@in_both
def test_films_are_found_by_what_is_cut_out_of_them(project: Project) -> None:
    assert project.add("films").added == ["film-0", "film-1", "film-2"]
    snapshot = open_index(project.place).snapshot(loaded=True)
    assert (len(snapshot), snapshot.videos) == (3 * 11 + 1, 4)
    found = codes(project.place)
    for film in range(3):
        naive = by_each_segment(Path("hasher-1"), film)
        mine = {key: code for key, code in found.items() if key[0] == f"film-{film}"}
        assert mine.keys() == naive.keys()
        # Batches of other sizes give other last digits, which may turn a bit over.
        assert all(apart(mine[key], naive[key]) <= 2 for key in naive)
    searcher = Searcher(project.place)
    right, finely = [], []
    for film in range(3):
        for start, seconds in ((1.0, 4.0), (4.5, 4.0), (7.25, 4.0), (0.0, 6.0)):
            clip = cut(Path(), film, start, seconds)
            for rerank, kept in (("none", right), ("features", finely)):
                hit = searcher.nearest(clip, 3, rerank=rerank)[0]  # type: ignore[arg-type]
                kept.append((hit.id == f"film-{film}" and abs(hit.start - start) <= 1.0, hit, start))
    # Of a hasher that has learnt nothing not everything can be expected.
    assert sum(good for good, *_ in right) >= 0.75 * len(right), right
    assert all(good for good, *_ in finely), finely
    assert all(abs(hit.start - start) <= 0.3 and hit.likeness is not None for _, hit, start in finely)


@in_both
def test_a_short_query_finds_a_segment_and_a_video_comes_once(project: Project) -> None:
    project.add("films")
    searcher = Searcher(project.place)
    clip = cut(Path(), 1, 6.0, 2.0)  # as long as a segment, and where one begins
    hits = searcher.nearest(clip, 10)
    assert (hits[0].id, hits[0].start, hits[0].end) == ("film-1", 6.0, 8.0)
    assert sorted(hit.id for hit in hits) == ["clip", "film-0", "film-1", "film-2"]
    every = searcher.nearest(clip, 100, group="none")
    assert len(every) == 34 and every[0] == hits[0]
    assert [hit.distance for hit in every] == sorted(hit.distance for hit in every)
    finely = searcher.nearest(clip, 20, group="none", rerank="features")
    for film in range(3):
        starts = sorted(hit.start for hit in finely if hit.id == f"film-{film}")
        assert len(starts) > 1 and all(
            later - earlier >= 1.0 for earlier, later in itertools.pairwise(starts)
        )
    whole = searcher.nearest("clip.mp4", 1, rerank="features")[0]
    assert (whole.id, whole.start, whole.end) == ("clip", 0.0, 1.5)


@in_both
def test_the_command_prints_where_in_a_film(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    def ssvh(*arguments: str) -> str:
        status = exit_status(lambda: app(list(arguments), standalone_mode=True))
        captured = capsys.readouterr()
        assert status == 0, captured.err
        return captured.out

    name = open_index(project.place).name
    assert ssvh("add", "films").splitlines() == ["added film-0, film-1, film-2", f"{name}: 4 videos"]
    clip = str(cut(Path(), 1, 4.5, 4.0))
    lines = ssvh("search", clip, "-k", "2", "--rerank", "features").splitlines()
    assert lines[0].split() == ["distance", "likeness", "label", "seconds", "found", "at", "video", "path"]
    cells = lines[1].split()
    assert (
        float(cells[1]) > 0.9 and cells[2:4] == ["-", "12.0"] and cells[-2:] == ["film-1", "films/film-1.mp4"]
    )
    assert float(cells[4]) == pytest.approx(4.5, abs=0.3) and float(cells[6]) == pytest.approx(8.5, abs=0.3)
    found = json.loads(ssvh("search", clip, "-k", "6", "--group", "none", "--json", "--sheet", "sheet.png"))
    assert found["index"]["videos"] == 4 and len(found["hits"]) == 6
    assert {"id", "start", "end", "seconds", "likeness", "distance"} <= found["hits"][0].keys()
    assert found["hits"][0]["likeness"] is None
    assert Path("sheet.png").stat().st_size > 1000
    assert ssvh("remove", "film-1").endswith(f"{name}: 3 videos\n")
    groups = ssvh("duplicates", "--radius", "0")
    assert "of 3 videos are in" in groups


@in_both
def test_films_come_and_go_as_a_whole_and_are_known(project: Project) -> None:
    project.add("films/film-0.mp4")
    before = codes(project.place)
    assert project.add("films") == Addition(["film-1", "film-2"], ["film-0"], [])
    assert {key: code for key, code in codes(project.place).items() if key in before} == before
    assert remove_videos(project.place, ["film-1"], project.params, say=print) == ["film-1"]
    assert {video for video, _ in codes(project.place)} == {"clip", "film-0", "film-2"}
    assert remove_videos(project.place, ["film-1"], project.params, say=print) == []
    assert project.add("films/film-1.mp4").added == ["film-1"]
    assert len(codes(project.place)) == 34
    Path("films/film-3.mp4").write_bytes(b"no video")
    done = project.add("films")
    assert [video.id for video in done.left_out] == ["film-3"] and len(done.there) == 3
    assert not (paths.WORK / "encode").exists() or not list((paths.WORK / "encode").iterdir())


@pytest.mark.parametrize(
    ("features", "place"),
    [
        ("kept", "folder"),
        pytest.param("gone", "folder", marks=pytest.mark.slow),
        pytest.param("kept", "postgres", marks=[pytest.mark.slow, pytest.mark.nightly]),
        pytest.param("gone", "postgres", marks=pytest.mark.slow),
    ],
    indirect=["place"],
)
def test_another_hasher_takes_over_the_films_segment_by_segment(project: Project, features: str) -> None:
    project.add("films")
    if features == "gone" and Path("index/added").is_dir():
        shutil.rmtree("index/added")
    elif features == "gone":
        with psycopg.connect(project.place) as connection:
            connection.execute("DELETE FROM ssvh.feature_files")
    # From now on videos are added as a whole; what is there stays cut as it is.
    params = with_changes(project.params, {"index.segments": "whole"}, where="test")
    assert refresh_index(params, hasher="./hasher-2", say=print, progress=silent)
    snapshot = open_index(project.place).snapshot(loaded=True)
    assert snapshot.hasher.sha256 == hasher_digest(Path("hasher-2"))
    assert (len(snapshot), snapshot.videos) == (34, 4)
    found = codes(project.place)
    for film in range(3):
        naive = by_each_segment(Path("hasher-2"), film)
        mine = {key: code for key, code in found.items() if key[0] == f"film-{film}"}
        assert mine.keys() == naive.keys() and all(apart(mine[key], naive[key]) <= 2 for key in naive)
    row = snapshot.ids().index("film-2")
    assert snapshot.text("paths", row) == "films/film-2.mp4" and snapshot.duration(row) == SCENES * SCENE
    hit = Searcher(project.place).nearest(cut(Path(), 0, 4.5, 4.0), 1, rerank="features")[0]
    assert hit.id == "film-0" and abs(hit.start - 4.5) <= 0.3 and hit.likeness is not None, (
        "also what was decoded again"
    )


def test_features_of_films_that_never_came_into_the_index_are_removed(project: Project) -> None:
    project.add("films")
    kept = open_index(project.place).kept_features()[1:]
    assert [is_film_file(path) for path in kept] == [True, True, True]
    assert [FilmFile(path).facts.id for path in kept] == ["film-0", "film-1", "film-2"]
    # As after a kill between keeping features and adding codes.
    remove_videos(project.place, ["film-1", "film-2"], project.params, say=print)
    shutil.copy("films/film-0.mp4", "films/film-9.mp4")
    project.add("films/film-9.mp4")
    assert [FilmFile(path).facts.id for path in open_index(project.place).kept_features()[1:]] == [
        "film-0",
        "film-9",
    ]


def test_a_search_without_stored_features_says_so_by_none(project: Project) -> None:
    project.add("films")
    shutil.rmtree("index/added")
    hits: list[Hit] = Searcher(project.place).nearest(cut(Path(), 2, 4.0, 4.0), 3, rerank="features")
    assert [hit.likeness for hit in hits] == [None] * 3
