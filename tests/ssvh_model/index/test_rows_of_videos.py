"""Several rows a video: as a whole they are added, removed, counted, found and compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from ssvh_model.errors import UserError
from ssvh_model.index import index_folder
from ssvh_model.index.coded_videos import CodedVideos, CodesFile, write_coded_videos
from ssvh_model.index.duplicates import duplicate_groups, duplicate_pairs
from ssvh_model.index.index_folder import IndexFolder, IndexSettings
from ssvh_model.index.searcher import Searcher
from ssvh_model.index.snapshot import open_snapshot
from ssvh_model.retrieval.hamming import as_words

Coded = Callable[..., CodedVideos]
EXACT = IndexSettings(exact_up_to=10**6, cells=8, probes=4)
IN_CELLS = IndexSettings(exact_up_to=10, cells=4, probes=4)
SECONDS = 5.0  # from one segment's start to the next one's


def in_segments(videos: CodedVideos, segments: int) -> CodedVideos:
    """As if each `segments` rows were of one video."""
    number = np.arange(len(videos))
    film = number // segments
    starts = (number % segments * SECONDS).astype(np.float32)
    names = [f"{videos.ids[0].rpartition('-')[0]}-film-{one}" for one in film.tolist()]
    return replace(
        videos,
        ids=names,
        paths=[f"{name}.mp4" for name in names],
        labels=["film"] * len(videos),
        durations=np.full(len(videos), segments * SECONDS + SECONDS, np.float32),
        spans=np.stack([starts, starts + 2 * SECONDS], axis=1),
    )


@pytest.mark.parametrize("how", [EXACT, IN_CELLS], ids=["exact", "cells"])
@pytest.mark.parametrize("at_once", [0, 10_000])
def test_all_rows_of_a_video_come_and_go_together(
    tmp_path: Path,
    coded: Coded,
    hasher: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: IndexSettings,
    at_once: int,
) -> None:
    monkeypatch.setattr(index_folder, "CHANGES_AT_ONCE", at_once)
    monkeypatch.setattr(index_folder, "CHANGES_SHARE", 0)
    index = IndexFolder(tmp_path / "index")
    clips, films = coded(20), in_segments(coded(12, seed=1, prefix="a"), 4)
    with index.alone():
        index.replace(clips.followed_by(films), hasher, how, seed=1)
        index.add(in_segments(coded(8, seed=2, prefix="b"), 4))
    snapshot = open_snapshot(index.folder)
    assert (len(snapshot), snapshot.videos) == (40, 25)
    rows = [row for row, video in enumerate(snapshot.ids()) if video == "a-film-1"]
    assert sorted(snapshot.span(row) for row in rows) == [(0, 10), (5, 15), (10, 20), (15, 25)]
    assert [tuple(span) for span in snapshot.spans.tolist()] == [snapshot.span(row) for row in range(40)]
    with index.alone():
        with pytest.raises(UserError, match="has a video 'a-film-0' already"):
            index.add(films)
        assert index.remove(["a-film-1", "b-film-0"]) == ["a-film-1", "b-film-0"]
        assert index.remove(["a-film-1"]) == []
    snapshot = open_snapshot(index.folder)
    assert (len(snapshot), snapshot.videos) == (32, 23)
    assert snapshot.removed_ids() == {"a-film-1", "b-film-0"}


@pytest.mark.parametrize("how", [EXACT, IN_CELLS], ids=["exact", "cells"])
def test_the_nearest_moment_of_each_video_is_found(
    tmp_path: Path, coded: Coded, hasher: Path, how: IndexSettings
) -> None:
    videos = coded(15).followed_by(in_segments(coded(60, seed=1, prefix="a"), 20))
    index = IndexFolder(tmp_path / "index")
    with index.alone():
        index.replace(videos, hasher, how, seed=1)
    searcher = Searcher(index.folder)
    query = coded(3, seed=9).codes
    for code, grouped, all_rows in zip(
        query,
        searcher.nearest_to_codes(query, 18),
        searcher.nearest_to_codes(query, 75, group="none"),
        strict=True,
    ):
        # Naively: all rows by distance, and of each video the first.
        distance = np.unpackbits(videos.codes ^ code, axis=1).sum(axis=1)
        assert [hit.distance for hit in all_rows] == sorted(distance.tolist())
        best: dict[str, int] = {}
        for row in np.argsort(distance, kind="stable").tolist():
            best.setdefault(videos.ids[row], int(distance[row]))
        assert [hit.distance for hit in grouped] == list(best.values())
        assert {hit.id: hit.distance for hit in grouped} == best and len(grouped) == 18
        for hit in grouped:
            here = [row for row, video in enumerate(videos.ids) if video == hit.id]
            assert any(
                (hit.start, hit.end) == tuple(videos.spans[row].tolist()) and distance[row] == hit.distance
                for row in here
            )
    assert searcher.videos == 18 and len(searcher) == 75


def test_duplicates_are_pairs_of_videos(coded: Coded) -> None:
    films = in_segments(coded(12), 4)
    codes = films.codes.copy()
    codes[6] = codes[1]  # of film 1 and of film 0
    codes[9] = codes[8]  # both of film 2
    words, firsts = as_words(codes), np.repeat([0, 4, 8], 4)
    assert duplicate_pairs(words, radius=0, first_rows=firsts).tolist() == [[0, 4]]
    assert [group.tolist() for group in duplicate_groups(words, radius=0, first_rows=firsts)] == [[0, 4]]


def test_a_codes_file_without_spans_has_whole_videos(tmp_path: Path, coded: Coded) -> None:
    path = tmp_path / "codes.h5"
    write_coded_videos(path, coded(4))
    with h5py.File(path, "a") as file:
        del file["spans"]
    file = CodesFile(path)
    assert file.whole().spans.tolist() == [[0, row] for row in range(4)] and file.span(3) == (0, 3)


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([[0, 1], [0, 2]], "has 2 rows that start at 0 for 1 ids"),
        ([[0, 1], [2, 1]], "a span does not start at or after 0 and before its end"),
        ([[0, 1], [np.nan, 1]], "a span does not start"),
        ([[1, 2], [1, 3]], "has 0 rows that start at 0 for 1 ids"),
        ([[0, 1]], r"'spans' has the shape \[1, 2\], there are 2 codes"),
    ],
)
def test_spans_that_can_t_be_are_refused(
    tmp_path: Path, coded: Coded, spans: list[list[float]], message: str
) -> None:
    path = tmp_path / "codes.h5"
    write_coded_videos(path, replace(coded(2), ids=["film", "film"]))
    with h5py.File(path, "a") as file:
        del file["spans"]
        file["spans"] = np.array(spans, np.float32)
    with pytest.raises(UserError, match=message):
        CodesFile(path).whole()
