from __future__ import annotations

from pathlib import Path

import pytest

from tests.ssvh_model.video.odd_videos import MakeVideo, video_maker


@pytest.fixture
def make_video(tmp_path: Path) -> MakeVideo:
    """Writes a video in the test's folder; frame i, at i / 25 seconds, has brightness level(i)."""
    return video_maker(tmp_path)
