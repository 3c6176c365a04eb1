"""Shots of videos whose cuts are known."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssvh_model.errors import UserError
from ssvh_model.moments.grid import GridFrames
from ssvh_model.moments.shots import LEAST_AT_AN_END, LONGEST, SHORTEST, Shots, shot_spans
from ssvh_model.video.encoding import write_video
from tests.serving import moving_picture
from tests.ssvh_model.video.odd_videos import MakeVideo

RATE = 10
LENGTHS = (3.0, 0.7, 2.5, 4.1, 12.0)  # seconds of the scenes of a film


def film_of(lengths: tuple[float, ...], path: Path) -> list[float]:
    """Write a film of scenes that move; the seconds at which it is cut."""
    scenes = [
        moving_picture(number, frames=round(seconds * RATE), side=64)
        for number, seconds in enumerate(lengths)
    ]
    write_video(path, np.concatenate(scenes), rate=Fraction(RATE), quality=20)
    return np.cumsum([len(scene) for scene in scenes])[:-1].tolist()


def test_cuts_of_a_film_are_found_to_the_frame_and_movement_is_none(tmp_path: Path) -> None:
    frames = film_of(LENGTHS, tmp_path / "film.mp4")
    grid = GridFrames(tmp_path / "film.mp4", 0.2, (None, None), cuts_from=Shots().threshold)
    pictures = [picture.shown for picture in grid]
    # The frame after a cut may look like a weaker one: the score says how much more it moves than the frame
    # before.
    strong = grid.cuts[grid.cuts[:, 1] >= 15]
    assert strong[:, 0].tolist() == pytest.approx([frame / RATE for frame in frames], abs=1e-6)
    assert {round(second * RATE) for second in grid.cuts[:, 0].tolist()} <= {
        *frames,
        *(frame + 1 for frame in frames),
    }
    without = [picture.shown for picture in GridFrames(tmp_path / "film.mp4", 0.2, (None, None))]
    assert len(pictures) == len(without) and all(map(np.array_equal, pictures, without))
    spans = Shots().spans(len(grid), 4, step=0.2, seconds=grid.seconds, cuts=grid.cuts)
    starts = spans[:, 0].tolist()
    # The scene of 0.7 seconds is joined with a neighbour, that of 12 divided.
    assert starts[0] == 0 and starts[2:] == pytest.approx([6.2, 10.3, 16.3])
    assert starts[1] == pytest.approx(3.0) or starts[1] == pytest.approx(3.7)
    assert spans[-1, 1] == pytest.approx(22.3)


@pytest.mark.parametrize("name", ["video.mp4", "video.mkv", "video.avi", "video.ts"])
def test_a_cut_is_where_it_is_shown_in_any_container(make_video: MakeVideo, name: str) -> None:
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    # Brightness climbs for twenty frames and falls at once.
    grid = GridFrames(make_video(name, 90, codec=codec), 0.1, (None, None), cuts_from=20.0)
    assert len(list(grid)) == 36
    assert grid.cuts[:, 0].tolist() == pytest.approx([0.8, 1.6, 2.4, 3.2], abs=1e-3)


cuts_of_a_video = st.lists(st.tuples(st.floats(0, 300), st.floats(8, 100)), max_size=60)


@given(cuts=cuts_of_a_video, seconds=st.floats(0.1, 300))
def test_shots_follow_each_other_and_have_sensible_lengths(
    cuts: list[tuple[float, float]], seconds: float
) -> None:
    given_cuts = np.array(sorted(cut for cut in cuts if cut[0] < seconds)).reshape(-1, 2)
    spans = shot_spans(given_cuts, seconds, least_at_an_end=SHORTEST)
    assert spans[0, 0] == 0 and spans[-1, 1] == pytest.approx(seconds)
    assert (spans[1:, 0] == spans[:-1, 1]).all()
    lengths = np.diff(spans, axis=1)[:, 0]
    assert (lengths <= LONGEST + 1e-3).all()
    assert len(spans) == 1 or (lengths >= SHORTEST - 1e-6).all()


@given(cuts=cuts_of_a_video)
def test_of_cuts_that_are_near_the_strongest_stays(cuts: list[tuple[float, float]]) -> None:
    spans = shot_spans(np.array(cuts).reshape(-1, 2), 300.0, least_at_an_end=LEAST_AT_AN_END)
    kept = set(spans[1:, 0].tolist())
    for second, score in cuts:
        if second not in kept and LEAST_AT_AN_END <= second <= 300 - LEAST_AT_AN_END:
            near = [other for other in cuts if other[0] in kept and abs(other[0] - second) < SHORTEST]
            assert any(other[1] >= score for other in near), "only what is as strong takes a cut's place"


def test_a_clip_has_the_cuts_of_its_film() -> None:
    rng = np.random.default_rng(1)
    seconds = np.sort(rng.uniform(0, 600, 300))
    cuts = np.stack([seconds, rng.uniform(8, 100, 300)], axis=1)
    film = shot_spans(cuts, 600.0, least_at_an_end=SHORTEST)
    same: list[bool] = []
    for start in rng.uniform(0, 560, 30).tolist():
        inside = cuts[(seconds > start) & (seconds < start + 40)] - [start, 0]
        clip = shot_spans(inside, 40.0, least_at_an_end=LEAST_AT_AN_END)[1:, 0] + start
        # Near its ends a clip does not see which cuts are stronger.
        inner = clip[(clip > start + 4 * SHORTEST) & (clip < start + 40 - 4 * SHORTEST)]
        same += (np.abs(film[:, 0] - inner[:, None]).min(axis=1) < 1e-6).tolist()
    assert len(same) > 100 and np.mean(same) > 0.9


@pytest.mark.parametrize("threshold", [0, -1, 101, float("nan")])
def test_an_impossible_threshold_is_refused(threshold: float) -> None:
    with pytest.raises(UserError, match=r"index\.segments\.threshold is .*; allowed"):
        Shots(threshold)
