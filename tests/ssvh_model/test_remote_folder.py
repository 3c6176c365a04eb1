"""Folders elsewhere: what is listed, and one line for what may go wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import fsspec
import pytest

from ssvh_model.errors import UserError
from ssvh_model.remote_folder import RemoteFolder, StorageAway
from tests.services import s3_service

CHECKED = """
import sys
sys.modules["s3fs"] = None  # as where it is not installed
from ssvh_model.remote_folder import RemoteFolder
RemoteFolder("s3://corpus/films").check()
"""


def test_a_stamp_changes_with_the_file_and_with_no_other(tmp_path: Path) -> None:
    for name in ("a/1.mp4", "2.mp4", ".hidden/3.mp4", "a/.4.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    address = f"file://{tmp_path}"
    before = RemoteFolder(address).stamps
    assert [*before] == ["2.mp4", "a/1.mp4"]
    (tmp_path / "2.mp4").write_text("another")
    after = RemoteFolder(address).stamps
    assert after["2.mp4"] != before["2.mp4"] and after["a/1.mp4"] == before["a/1.mp4"]


def test_files_are_read() -> None:
    with fsspec.open("memory://films/a/1.mp4", "wb") as file:
        file.write(b"content")
    folder = RemoteFolder("memory://films")
    folder.check()
    assert folder.read("a/1.mp4") == b"content"
    assert folder.has_file("a/1.mp4") and not folder.has_file("a") and not folder.has_file("none")
    with pytest.raises(FileNotFoundError):
        folder.read("none")
    with pytest.raises(UserError, match=r"^there is no folder memory://nowhere$"):
        RemoteFolder("memory://nowhere").check()


def test_what_is_wrong_with_who_asks_is_one_line_and_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, address = s3_service(tmp_path)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    # Its own bucket: s3fs keeps one connection for each set of options, and others of this process had names.
    monkeypatch.setattr(fsspec.config, "conf", {"s3": {"endpoint_url": address, "use_ssl": False}})
    try:
        server.start()
        with pytest.raises(
            UserError,
            match=r"^s3://corpus/films: may not be looked at \(NoCredentialsError: .*\); who asks is told as",
        ) as caught:
            RemoteFolder("s3://corpus/films").check()
        assert not isinstance(caught.value, StorageAway)
    finally:
        server.stop()


def test_a_package_that_is_missing_is_named() -> None:
    done = subprocess.run([sys.executable, "-c", CHECKED], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].endswith(
        "UserError: s3://corpus/films: Install s3fs to access S3; the extra s3 is for S3: pip install 'autossvh[s3]'"
    )
