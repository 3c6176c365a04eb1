"""Searching by filters, videos of the index and codes, wherever the index is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ssvh_model.index.answer import Question
from ssvh_model.index.coded_videos import CodedVideos
from ssvh_model.index.filters import Filters, Wanted
from ssvh_model.index.finder import NoSuchVideo
from ssvh_model.index.hex_codes import code_to_hex
from ssvh_model.index.hit import Hit
from ssvh_model.index.index import open_index
from ssvh_model.index.searcher import Searcher
from ssvh_model.index.settings import IndexSettings
from ssvh_model.model.hasher_file import load_saved_hasher
from ssvh_model.retrieval.codes import unpack

EXACT = IndexSettings(exact_up_to=10**6, cells=8, probes=4)
Coded = Callable[..., CodedVideos]


@pytest.fixture(params=["folder", "postgres"])
def videos_at(
    request: pytest.FixtureRequest, tmp_path: Path, coded: Coded, hasher: Path
) -> tuple[str, CodedVideos]:
    """An index of 40 videos of several labels and lengths, of which the first five have three rows each."""
    place = (
        str(tmp_path / "index") if request.param == "folder" else request.getfixturevalue("vector_database")
    )
    made = coded(50)
    film = np.arange(50) // 3
    ids = [f"Film-{film[row]}" if row < 15 else f"clip-{row}" for row in range(50)]
    durations = np.where(np.arange(50) < 15, 30.0, 1.5 + np.arange(50)).astype(np.float32)
    starts = np.where(np.arange(50) < 15, np.arange(50) % 3 * 10.0, 0.0).astype(np.float32)
    ends = np.where(np.arange(50) < 15, starts + 10.0, durations).astype(np.float32)
    labels = ["|".join(("even", "odd", "both")[one % 2 : one % 2 + 2]) for one in map(len, ids)]
    videos = replace(
        made,
        ids=ids,
        labels=labels,
        paths=[f"{video}.mp4" for video in ids],
        durations=durations,
        spans=np.stack([starts, ends], axis=1),
    )
    index = open_index(place)
    with index.alone():
        index.replace(videos, hasher, EXACT, seed=1)
    return place, videos


def test_filters_leave_of_all_hits_those_that_are_wanted(videos_at: tuple[str, CodedVideos]) -> None:
    place, videos = videos_at
    searcher = Searcher(place)
    everything = searcher.nearest_to_codes(videos.codes[:3], 50)
    assert [len(hits) for hits in everything] == [40, 40, 40]

    def short(hit: Hit) -> bool:
        return hit.seconds <= 30.0

    cases: list[tuple[Filters, Callable[[Hit], bool]]] = [
        (Filters(), lambda hit: True),
        (Filters(labels=["odd"]), lambda hit: "odd" in hit.labels),
        (Filters(labels=["none"]), lambda hit: False),
        (Filters(max_seconds=30.0), short),
        (Filters(min_seconds=30.0, max_seconds=30.0), lambda hit: hit.seconds == 30.0),
        (Filters(text="FILM-"), lambda hit: hit.id.startswith("Film-")),
        (Filters(max_distance=7), lambda hit: hit.distance <= 7),
        (Filters(max_seconds=30.0, max_distance=7), lambda hit: short(hit) and hit.distance <= 7),
    ]
    for filters, is_wanted in cases:
        found = searcher.nearest_to_codes(videos.codes[:3], 6, filters=filters)
        assert found == [[hit for hit in hits if is_wanted(hit)][:6] for hits in everything], filters


def test_a_hit_says_what_the_index_knows_of_its_row(videos_at: tuple[str, CodedVideos]) -> None:
    place, videos = videos_at
    row = 7
    answer = Searcher(place).ask(Question(code=code_to_hex(videos.codes[row]).upper()), Wanted(1, "none"))
    (hit,) = answer.hits
    code = code_to_hex(videos.codes[row])
    labels = tuple(videos.labels[row].split("|"))
    assert hit == Hit(videos.ids[row], labels, 30.0, videos.paths[row], code, 0, 10.0, 20.0, None)
    assert (hit.label, hit.duration, hit.whole) == (videos.labels[row], 30.0, False)
    assert (answer.query.kind, answer.query.code) == ("code", code)
    assert (answer.index.videos, answer.index.bits) == (40, videos.bits)


def test_a_video_of_the_index_is_not_among_what_it_finds(videos_at: tuple[str, CodedVideos]) -> None:
    place, videos = videos_at
    searcher = Searcher(place)
    for question, row in ((Question(id="clip-20"), 20), (Question(id="Film-2", start=12.0), 7)):
        for group in ("video", "none"):
            by_code = searcher.nearest_to_codes(videos.codes[[row]], 50, group=group)[0]  # type: ignore[arg-type]
            found = searcher.ask(question, Wanted(9, group))  # type: ignore[arg-type]
            assert found.hits == [hit for hit in by_code if hit.id != question.id][:9]
            assert (found.query.kind, found.query.id) == ("id", question.id)
            assert found.query.code == code_to_hex(videos.codes[row])
    with pytest.raises(NoSuchVideo, match="the index has no video 'no such'"):
        searcher.ask(Question(id="no such"))


def test_soft_codes_order_what_codes_find(videos_at: tuple[str, CodedVideos], hasher: Path) -> None:
    place, videos = videos_at
    searcher, network = Searcher(place), load_saved_hasher(hasher)[0]
    shape = (2, network.config.frames, network.config.feature_size)
    features = np.random.default_rng(5).normal(size=shape).astype(np.float16)
    softs = network(torch.from_numpy(features).float()).detach().numpy()
    likeness = unpack(videos.codes, videos.bits) @ softs.T / np.abs(softs).sum(axis=1)
    found = searcher.nearest_to_features(features, 12, rerank="soft")
    near = searcher.nearest_to_features(features, 40, rerank="soft", filters=Filters(max_distance=6))
    for query, hits in enumerate(found):
        assert [hit.likeness for hit in hits] == sorted((hit.likeness for hit in hits), reverse=True)
        best: dict[str, float] = {}
        for row, video in enumerate(videos.ids):
            best[video] = max(best.get(video, -1.0), float(likeness[row, query]))
        assert [hit.likeness for hit in hits] == pytest.approx(
            sorted(best.values(), reverse=True)[:12], abs=1e-3
        )
        assert all(hit.likeness == pytest.approx(best[hit.id], abs=1e-3) for hit in hits)
        assert near[query] and all(hit.distance <= 6 for hit in near[query])
    coded = searcher.ask(Question(code=code_to_hex(videos.codes[20])), Wanted(5, rerank="soft"))
    assert coded.hits == searcher.nearest_to_codes(videos.codes[[20]], 5)[0]
    kept_nowhere = searcher.ask(Question(id="clip-20"), Wanted(5, rerank="soft"))
    assert kept_nowhere.hits == searcher.ask(Question(id="clip-20"), Wanted(5)).hits
