"""Films that are cut into shots, in an index: by the commands, beside films that are cut evenly and whole
clips.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psycopg
import pytest

from flows.cli.app import app, exit_status
from ssvh_model.files import sha256_of
from ssvh_model.index.index import open_index
from ssvh_model.index.searcher import Searcher
from ssvh_model.model.hasher_file import hasher_digest
from tasks import paths
from tasks.index.refresh import refresh_index
from tasks.params.changes import with_changes
from tasks.params.load import load_params
from tests.conftest import REPOSITORY
from tests.films import FILMS, SEGMENTS, SHOTS, cut, cut_shots, rows_of, silent, start_index
from tests.index_places import in_both

ROWS = len(SHOTS) + 1  # of a film: the shot of 12 seconds is two
STARTS = np.cumsum([0, *SHOTS])


@pytest.fixture
def index(film_project: Path, place: str) -> str:
    """A project with films and `index.segments: shots`, and an index of one whole clip."""
    start_index(place, "shots")
    return place


def ssvh(*arguments: str) -> None:
    assert exit_status(lambda: app(list(arguments), standalone_mode=True)) == 0


def with_segments(segments: object) -> None:
    text = paths.PARAMS.read_text(encoding="utf-8")
    changed = re.sub("segments: .*", f"segments: {segments}", text, count=1)
    paths.PARAMS.write_text(changed, encoding="utf-8")


@in_both
@pytest.mark.slow
def test_shots_are_found_by_the_command_and_where_a_clip_begins(
    index: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ssvh("add", "shots")
    name = open_index(index).name
    assert capsys.readouterr().out.splitlines() == ["added shots-0, shots-1, shots-2", f"{name}: 4 videos"]
    snapshot = open_index(index).snapshot(loaded=True)
    assert (len(snapshot), snapshot.videos) == (FILMS * ROWS + 1, FILMS + 1)
    for film in range(FILMS):
        spans = rows_of(index, f"shots-{film}").spans
        assert spans[:, 0].tolist() == pytest.approx(sorted([*STARTS[:-1], STARTS[5] + 6.0]))
        assert spans[:, 1].tolist() == pytest.approx([*spans[1:, 0], STARTS[-1]])
    searcher, right = Searcher(index), []
    for film in range(FILMS):
        for start, seconds in ((1.25, 7.0), (4.0, 12.0), (8.5, 5.0), (13.5, 10.0)):
            clip = cut_shots(Path(), film, start, seconds)
            # The cuts within the clip tell its place to the frame.
            for rerank, near in (("none", 0.02), ("features", 0.3)):
                hit = searcher.nearest(clip, 3, rerank=rerank)[0]  # type: ignore[arg-type]
                found = hit.id, hit.start, hit.end
                right.append(
                    found
                    == (
                        f"shots-{film}",
                        pytest.approx(start, abs=near),
                        pytest.approx(start + seconds, abs=near),
                    )
                )
    # Of a hasher that has learnt nothing not everything can be expected.
    assert sum(right) >= 0.85 * len(right), right
    ssvh("search", str(cut_shots(Path(), 1, 4.0, 12.0)), "-k", "9", "--group", "none", "--json")
    hits = json.loads(capsys.readouterr().out)["hits"]
    assert (hits[0]["id"], hits[0]["start"], hits[0]["end"]) == (
        "shots-1",
        pytest.approx(4.0),
        pytest.approx(16.0),
    )
    # A clip within a shot finds that shot.
    ssvh("search", str(cut_shots(Path(), 1, 9.75, 3.0)))
    cells = capsys.readouterr().out.splitlines()[1].split()
    assert cells[-2:] == ["shots-1", "shots/shots-1.mp4"] and {"9.5", "13.0"} < set(cells)


@in_both
def test_films_stay_cut_as_they_are_beside_others(index: str) -> None:
    ssvh("add", "shots/shots-0.mp4")
    with_segments(SEGMENTS)
    ssvh("add", "films/film-0.mp4")
    with_segments("whole")
    ssvh("add", "shots", "films/film-1.mp4")
    lengths = {video: len(rows_of(index, video)) for video in ("shots-0", "film-0", "shots-1", "film-1")}
    assert lengths == {"shots-0": ROWS, "film-0": 11, "shots-1": 1, "film-1": 1}
    films = open_index(index).snapshot(loaded=True).films
    assert films is not None and films.cuttings == ["shots", 2.0]
    searcher = Searcher(index)
    for clip, film, start in (
        (cut_shots(Path(), 0, 4.0, 12.0), "shots-0", 4.0),
        (cut(Path(), 0, 4.5, 6.0), "film-0", 4.5),
    ):
        hit = searcher.nearest(clip, 1, rerank="features")[0]
        assert hit.id == film and abs(hit.start - start) <= 0.3
    found = searcher.nearest(Path("shots/shots-1.mp4"), 10)
    assert found[0].id == "shots-1" and len({hit.id for hit in found}) == len(found) == 6


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
def test_another_hasher_takes_over_shot_by_shot(index: str, features: str) -> None:
    ssvh("add", "shots")
    before = rows_of(index, "shots-2")
    if features == "gone" and Path("index/added").is_dir():
        shutil.rmtree("index/added")
    elif features == "gone":
        with psycopg.connect(index) as connection:
            connection.execute("DELETE FROM ssvh.feature_files")
    params = with_changes(load_params(), {"index.segments": "whole"}, where="test")
    assert refresh_index(params, hasher="./hasher-2", say=print, progress=silent)
    snapshot = open_index(index).snapshot(loaded=True)
    assert snapshot.hasher.sha256 == hasher_digest(Path("hasher-2"))
    after = rows_of(index, "shots-2")
    assert np.allclose(after.spans, before.spans, atol=1e-4) and not np.array_equal(after.codes, before.codes)
    hit = Searcher(index).nearest(cut_shots(Path(), 0, 4.0, 12.0), 1, rerank="features")[0]
    assert hit.id == "shots-0" and abs(hit.start - 4.0) <= 0.3 and hit.likeness is not None


# Ends itself before the features of the second film are there.
KILLED = """
import os, signal, sys
import h5py
from flows.cli.app import app
made = 0
rename = os.replace

def replace(source, target, *rest, **more):
    global made
    if "film-" in os.path.basename(os.fspath(target)):
        made += 1
        if made == 2:
            os.kill(os.getpid(), signal.SIGKILL)
    return rename(source, target, *rest, **more)

os.replace = replace
app(sys.argv[1:])
"""


def state_of(index: str) -> tuple[list[str], list[float], bytes, list[str]]:
    """All rows of an index, and digests of the features that it keeps."""
    whole = open_index(index).snapshot(loaded=True).whole()
    kept = [sha256_of(path) for path in open_index(index).kept_features()]
    return list(whole.ids), whole.spans.ravel().tolist(), whole.codes.tobytes(), kept


@pytest.mark.slow
def test_a_killed_addition_goes_on_and_leaves_what_an_undisturbed_one_leaves(index: str) -> None:
    shutil.copytree("index", "before")
    ssvh("add", "shots")
    undisturbed = state_of(index)
    shutil.rmtree("index")
    shutil.copytree("before", "index")
    result = subprocess.run(
        [sys.executable, "-c", KILLED, "add", "shots"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == -signal.SIGKILL, result.stderr
    made = list(paths.WORK.glob("encode/*/films/film-*.h5"))
    assert len(made) == 1 and len(open_index(index).snapshot(loaded=True)) == 1
    ssvh("add", "shots")
    assert state_of(index) == undisturbed
    assert not list(paths.WORK.rglob("*.h5"))


def test_a_codes_file_of_shots_becomes_an_index(index: str) -> None:
    ssvh("encode", "shots", "-o", "codes.h5", "--hasher", "./hasher-1")
    ssvh("index", "codes.h5", "--hasher", "./hasher-1", "--index", "other")
    assert len(rows_of("other", "shots-1")) == ROWS
    hit = Searcher("other").nearest(cut_shots(Path(), 1, 4.0, 12.0), 1)[0]
    assert hit.id == "shots-1" and abs(hit.start - 4.0) <= 0.02
