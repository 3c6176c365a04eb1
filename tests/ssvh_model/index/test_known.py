"""What is said of a video that the index has already."""

from __future__ import annotations

import shlex

import pytest

from ssvh_model.index.known import id_taken


@pytest.mark.parametrize("video", ["a", "plain film", "it's #1", "50% $HOME"])
def test_the_command_takes_the_video_out_as_it_stands(video: str) -> None:
    command = str(id_taken("index", video)).split("`")[1]
    assert shlex.split(command) == ["ssvh", "remove", video]


def test_an_id_that_begins_with_a_dash_is_no_option() -> None:
    assert "`ssvh remove -- -k` takes it out" in str(id_taken("index", "-k"))
