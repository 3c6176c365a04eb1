from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssvh_model.errors import UserError
from ssvh_model.moments.segments import EvenSegments


@given(
    overlap=st.floats(0, 0.95),
    frames=st.integers(2, 40),
    extra=st.integers(0, 300),
    seconds=st.floats(0.5, 60),
)
def test_every_frame_is_in_a_segment_and_segments_begin_evenly(
    overlap: float, frames: int, extra: int, seconds: float
) -> None:
    segments, count = EvenSegments(seconds, overlap), frames + extra
    firsts = segments.firsts(count, frames)
    shown = np.unique(firsts[:, None] + np.arange(frames))
    hop = segments.hop(frames)
    assert hop <= frames
    assert firsts[0] == 0 and firsts[-1] == count - frames
    assert shown.tolist() == list(range(count)), "each frame is seen"
    assert (np.diff(firsts)[:-1] == hop).all() and (np.diff(firsts)[-1:] <= hop).all()


@given(seconds=st.integers(1, 60), overlap=st.sampled_from([0.0, 0.25, 0.5, 0.75]), extra=st.integers(1, 300))
def test_how_a_video_was_cut_is_seen_in_its_spans(seconds: int, overlap: float, extra: int) -> None:
    segments, frames = EvenSegments(seconds, overlap), 25
    starts = segments.firsts(frames + extra, frames) * segments.step(frames)
    spans = np.stack([starts, starts + seconds], axis=1).astype(np.float32)
    found = EvenSegments.of_spans(spans)
    assert found is not None and found.seconds == pytest.approx(seconds, abs=1e-3)
    if extra >= segments.hop(frames):
        assert (
            found.firsts(frames + extra, frames).tolist() == segments.firsts(frames + extra, frames).tolist()
        )
    assert EvenSegments.of_spans(spans[:1]) is None


@pytest.mark.parametrize(
    ("seconds", "overlap", "message"),
    [
        (0, 0.5, "seconds is 0"),
        (float("nan"), 0.5, "seconds is nan"),
        (1, 0.96, "overlap is 0.96"),
        (1, -0.1, "overlap"),
    ],
)
def test_impossible_values_are_refused(seconds: float, overlap: float, message: str) -> None:
    with pytest.raises(UserError, match=rf"index\.segments\.{message}"):
        EvenSegments(seconds, overlap)
