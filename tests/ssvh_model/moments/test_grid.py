"""Frames on an even grid in time, beside a naive choice among all decoded frames."""

from __future__ import annotations

import numpy as np
import pytest

from ssvh_model.moments.grid import GridFrames, grid_features
from ssvh_model.video.container import UnreadableVideo
from tests.ssvh_model.video.odd_videos import (
    MakeVideo,
    MeanColours,
    break_after_first_frame,
    level,
    read_levels,
)

RATE = 25


def shown(grid: GridFrames) -> list[int]:
    """The frames' numbers, modulo 20."""
    return read_levels(np.stack([picture.shown for picture in grid]))


@pytest.mark.parametrize("step", [0.02, 0.04, 0.1, 0.4, 1.3])
@pytest.mark.parametrize("name", ["video.mp4", "video.mkv", "video.avi", "video.ts"])
def test_each_frame_is_the_one_that_is_shown_then(make_video: MakeVideo, name: str, step: float) -> None:
    frames = 90
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    grid = GridFrames(make_video(name, frames, codec=codec), step, (None, None))
    assert grid.seconds == pytest.approx(frames / RATE, abs=1e-3)
    times = [(number + 0.5) * step for number in range(int(frames / RATE / step + 1e-6))]
    assert len(grid) == len(times)
    expected = [int(time * RATE + 1e-6) % 20 for time in times]
    assert shown(grid) == expected and shown(grid) == expected, "every time that it is asked"


def test_a_step_of_a_video_s_share_shows_what_even_sampling_shows(make_video: MakeVideo) -> None:
    from ssvh_model.video.decoding import even_indices

    grid = GridFrames(make_video(frames=77), 77 / RATE / 10, (None, None))
    assert shown(grid) == (even_indices(77, 10) % 20).tolist()


def test_so_many_frames_at_most(make_video: MakeVideo) -> None:
    assert shown(GridFrames(make_video(frames=60), 0.04, (None, None), most=7)) == list(range(7))


def test_frames_that_do_not_decode_are_replaced_or_the_video_is_refused(make_video: MakeVideo) -> None:
    path = make_video("broken.mp4", 40)
    break_after_first_frame(path)
    with pytest.raises(UnreadableVideo, match="frames don't decode"):
        list(GridFrames(path, 0.04, (None, None)))
    with pytest.raises(UnreadableVideo, match="missing"):
        GridFrames(path.with_name("none.mp4"), 0.04, (None, None))


def test_features_do_not_hang_on_the_batches(make_video: MakeVideo) -> None:
    path, backbone = make_video(frames=40), MeanColours()
    found = [grid_features(GridFrames(path, 0.1, (None, None)), backbone, size) for size in (1, 3, 64)]
    assert found[0].shape == (16, 3) and found[0].dtype == np.float16
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])
    brightness = [level(int((number + 0.5) * 0.1 * RATE)) for number in range(16)]
    assert np.corrcoef(found[0][:, 0].astype(float), brightness)[0, 1] > 0.999
