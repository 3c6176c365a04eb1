"""What is wrong with the address of the videos is said before DVC looks at it."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from ssvh_model.errors import UserError
from tasks.extraction.remote_videos import check_remote_videos
from tasks.machine.errors import ServiceAway


def params(path: str) -> None:
    Path("params.yaml").write_text(f"corpus:\n  path: {path}\n")


def test_the_address_of_the_videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    params("videos")
    check_remote_videos()  # a folder of this machine is not its matter
    with fsspec.open("memory://films-of-this-test/1.mp4", "wb") as file:
        file.write(b"content")
    params("memory://films-of-this-test/")
    check_remote_videos()
    params("memory://nowhere")
    with pytest.raises(UserError, match=r"^params.yaml: corpus.path: there is no folder memory://nowhere$"):
        check_remote_videos()
    params("nothing://films")
    with pytest.raises(UserError, match=r"^params.yaml: corpus.path: nothing://films: Protocol not known"):
        check_remote_videos()


def test_a_store_that_does_not_answer_may_answer_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # a port that nothing listens to
    params("s3://another-corpus/films")
    with pytest.raises(ServiceAway, match=r"^params.yaml: corpus.path: s3://another-corpus/films: can't be"):
        check_remote_videos()
