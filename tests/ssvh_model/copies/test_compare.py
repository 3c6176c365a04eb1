"""Two uploads of one recording are told from two recordings that look alike."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssvh_model.copies.compare import compare
from ssvh_model.copies.compared_frames import FEWEST_FRAMES, read_frames
from ssvh_model.copies.placement import PlacedVideo
from ssvh_model.copies.verify import verify
from ssvh_model.video.encoding import write_video
from tests.ssvh_model.copies.conftest import Recorder, upload, watched


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"zoom": 1.3, "left": 0.9, "top": 0.1},
        {"hue": 1.5, "saturation": 0.5, "brightness": 1.3},
        {"bars_above": 0.2, "noise": 8.0},
        {"zoom": 1.15, "bars_beside": 0.1, "hue": -0.8, "noise": 8.0},
    ],
)
def test_another_upload_of_a_recording_counts(record: Recorder, how: dict[str, Any]) -> None:
    match = compare(watched(record(0)), watched(upload(record(0), **how)))
    assert match.score > 0.9
    assert match.speed == pytest.approx(1.0, abs=0.05)
    assert match.first_span == pytest.approx((0.0, 6.0), abs=0.7)


@pytest.mark.parametrize("seed", range(1, 6))
def test_another_recording_of_the_same_scene_does_not(record: Recorder, seed: int) -> None:
    assert compare(watched(record(0)), watched(record(seed))).score < 0.5


def test_a_faster_upload_and_one_that_begins_later_tell_how(record: Recorder) -> None:
    faster = compare(watched(record(0)), watched(record(0, speed=1.5)[:40]))
    assert faster.score > 0.9 and faster.speed == pytest.approx(1 / 1.5, abs=0.04)
    later = compare(watched(record(0)), watched(record(0)[20:]))
    assert later.score > 0.9
    assert later.first_span == pytest.approx((2.0, 6.0), abs=0.3)
    assert later.second_span == pytest.approx((0.0, 4.0), abs=0.3)


def test_the_order_of_two_videos_says_nothing(record: Recorder) -> None:
    first = watched(record(0))
    second = watched(upload(record(0, speed=1.2)[:40], zoom=1.3, left=0.9, top=0.1))
    there, back = compare(first, second), compare(second, first)
    assert (back.score, back.line, back.picture, back.distinct) == (
        there.score,
        there.line,
        there.picture,
        there.distinct,
    )
    assert (back.first_span, back.second_span) == (there.second_span, there.first_span)
    assert back.speed == pytest.approx(1 / there.speed)


def test_a_mirror_image_counts_where_it_is_asked_for(record: Recorder) -> None:
    first, second = watched(record(0)), watched(np.ascontiguousarray(record(0)[:, :, ::-1]))
    assert compare(first, second).score < 0.5
    match = compare(first, second, mirrored=True)
    assert match.score > 0.9 and match.mirrored
    assert not compare(first, watched(record(0)), mirrored=True).mirrored


def test_where_nothing_moves_the_pictures_decide(record: Recorder) -> None:
    still = record(0)[:1].repeat(20, axis=0)
    other = record(0, scene=1)[:1].repeat(20, axis=0)
    assert compare(watched(still), watched(upload(still, zoom=1.1))).score > 0.9
    assert compare(watched(still), watched(other)).score < 0.5


def test_pairs_of_files(record: Recorder, tmp_path: Path) -> None:
    for name, frames in {
        "one": record(0),
        "again": upload(record(0), zoom=1.2, hue=0.5),
        "other": record(1),
    }.items():
        write_video(tmp_path / f"{name}.mp4", frames, rate=Fraction(10), quality=25)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    paths = [str(tmp_path / f"{name}.mp4") for name in ("one", "again", "other", "broken")] + [""]
    pairs = np.array([(0, 1), (0, 2), (0, 3), (1, 2), (2, 4)])
    done = []
    verified = verify(pairs, paths.__getitem__, progress=lambda so_far, total: done.append((so_far, total)))
    assert (verified.scores > 0.5).tolist() == [True, False, False, False, False]
    assert [match is None for match in verified.matches] == [False, False, True, False, True]
    assert verified.scores[[2, 4]].tolist() == [0.0, 0.0]
    assert set(verified.unreadable) == {3, 4} and verified.unreadable[4] == "its file is not known"
    assert done == [(number, 5) for number in range(1, 6)]
    assert verify(pairs[:0], paths.__getitem__).scores.shape == (0,)


def test_a_clip_of_a_few_frames_is_compared(record: Recorder, tmp_path: Path) -> None:
    write_video(tmp_path / "short.mp4", record(0, frames=3), rate=Fraction(10), quality=25)
    frames = read_frames(tmp_path / "short.mp4")
    assert frames.moving.shape == (FEWEST_FRAMES, 64, 64)
    assert math.isfinite(compare(PlacedVideo(frames), PlacedVideo(frames)).score)
