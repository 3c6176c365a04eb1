"""`ssvh serve` is told to end while a film is being cut."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from fractions import Fraction
from pathlib import Path

import httpx
import numpy as np
import pytest

from ssvh_model.index.searcher import Searcher
from ssvh_model.video.encoding import write_video
from tests.films import RATE, make_films, scenes, start_index
from tests.serving import Server, environment, problem, serving

SECONDS = 600.0  # for something that takes a moment on a machine with nothing else to do
LONG = 60  # times what `scenes` gives: twelve minutes, longer than a service takes to end


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """A project with an index of a whole clip, films of seconds, and one of minutes."""
    make_films(tmp_path)
    with contextlib.chdir(tmp_path):
        start_index()
    write_video(tmp_path / "long.mp4", np.tile(scenes(0), (LONG, 1, 1, 1)), rate=Fraction(RATE), quality=30)
    return tmp_path


def add(server: Server, film: Path, video: str) -> httpx.Response:
    """By a client of its own, which goes on listening when the service's is closed."""
    headers = {**server.with_token, "Content-Type": "video/mp4"}
    address = f"{server.address}/videos?id={video}"
    return httpx.post(address, content=film.read_bytes(), headers=headers, timeout=SECONDS)


@pytest.mark.slow
def test_a_film_that_is_being_cut_is_not_added_and_the_log_says_so(films: Path) -> None:
    temporary, index = films / "temporary", films / "index"
    temporary.mkdir()
    before = sorted(path.relative_to(index) for path in index.rglob("*"))
    answers: list[httpx.Response] = []
    with serving(films, variables=environment(TMPDIR=str(temporary)), ended_by=signal.SIGTERM) as server:
        adding = threading.Thread(target=lambda: answers.append(add(server, films / "long.mp4", "long")))
        adding.start()
        until = time.monotonic() + SECONDS
        while not (under_way := server.client.get("/additions").json()["films"]) or not under_way[0]["share"]:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert under_way[0]["id"] == "long"
    adding.join(SECONDS)
    (answer,) = answers
    expected = "the service is ending; 'long' was not added, and can be added again"
    assert problem(answer, 503, "ending") == expected
    log = (films / "serve.log").read_text()
    assert "Traceback" not in log and "ERROR" not in log, log
    assert log.splitlines().count(expected) == 1, log
    assert not list(temporary.iterdir()), "nothing is left behind"
    assert sorted(path.relative_to(index) for path in index.rglob("*")) == before
    with contextlib.chdir(films):
        assert [hit.id for hit in Searcher("index").nearest("clip.mp4", 9)] == ["clip"]

    # It can be added again; one of the same id that is short, to be quick.
    with serving(films) as server:
        assert add(server, films / "films/film-1.mp4", "long").status_code == 201
