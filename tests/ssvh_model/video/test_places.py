"""Videos in a folder, and in an S3 bucket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from ssvh_model.errors import UserError
from ssvh_model.files import sha256_of
from ssvh_model.manifest import Video
from ssvh_model.remote_folder import StorageAway
from ssvh_model.video.container import UnreadableVideo
from ssvh_model.video.places import opened_file, place_of
from tests.services import Service, asked_s3

CONTENT = b"content"


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A server with the bucket `corpus`, which has films/a/b.mp4."""
    with asked_s3(tmp_path, monkeypatch) as server:
        boto3.client("s3").put_object(Bucket="corpus", Key="films/a/b.mp4", Body=CONTENT)
        yield server


def test_a_bucket(s3: Service, tmp_path: Path) -> None:
    (tmp_path / "b.mp4").write_bytes(CONTENT)
    video = Video(id="b", path="a/b.mp4", sha256=sha256_of(tmp_path / "b.mp4"))
    place = place_of("s3://corpus/films/")
    place.check()
    assert place.files() == (["a/b.mp4"], []) and place.read("a/b.mp4") == CONTENT
    assert place.has_file("a/b.mp4") and not place.has_file("a/c.mp4")
    assert (
        place.name_of("a/b.mp4") == "s3://corpus/films/a/b.mp4" and place.name_of("") == "s3://corpus/films"
    )
    assert place.path_in("s3://corpus/films/a/b.mp4") == place.path_in("a/b.mp4") == "a/b.mp4"
    with place.opened(video) as path:
        assert path.name == "b.mp4" and path.read_bytes() == CONTENT
    assert not path.parent.exists()
    with (
        pytest.raises(UnreadableVideo, match="missing: there is no such file"),
        place.opened(Video(id="c", path="a/c.mp4")),
    ):
        pass
    with (
        pytest.raises(
            UserError,
            match=r"s3://corpus/films/a/b\.mp4: has the SHA-256 .*; allowed is 000000000000\.\.\., as in",
        ),
        place.opened(Video(id="b", path="a/b.mp4", sha256=64 * "0")),
    ):
        pass
    for address in ("s3://corpus/none", "s3://none/films"):
        with pytest.raises(UserError, match=f"there is no folder {address}"):
            place_of(address).check()

    s3.kill()
    with (
        pytest.raises(StorageAway, match=r"s3://corpus/films/a/b\.mp4: can't be fetched"),
        place.opened(video),
    ):
        pass
    with pytest.raises(StorageAway, match=r"s3://corpus/films2: can't be looked at"):
        place_of("s3://corpus/films2").check()


def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / "b.mp4").write_bytes(CONTENT)
    place = place_of(str(tmp_path))
    place.check()
    assert place.files() == (["b.mp4"], []) and place.read("b.mp4") == CONTENT
    assert place.has_file("b.mp4") and not place.has_file("c.mp4")
    assert (
        place.name_of("b.mp4") == str(tmp_path / "b.mp4")
        and place.path_in(str(tmp_path / "b.mp4")) == "b.mp4"
    )
    with place.opened(Video(id="b", path="b.mp4")) as path:
        assert path == tmp_path / "b.mp4"
    with pytest.raises(UserError, match="there is no folder"):
        place_of(f"{tmp_path}/none").check()


def test_one_video_by_its_path_or_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b.mp4").write_bytes(CONTENT)
    for name in ("a/b.mp4", str(tmp_path / "a/b.mp4")):
        with opened_file(name) as path:
            assert path.samefile(tmp_path / "a/b.mp4")
    with opened_file(f"file://{tmp_path}/a/b.mp4") as copy:
        assert copy.read_bytes() == CONTENT and not copy.samefile(tmp_path / "a/b.mp4")
    assert not copy.exists()
    with pytest.raises(UnreadableVideo, match="missing"), opened_file(f"file://{tmp_path}/none.mp4"):
        pass


def test_an_address_of_no_known_kind() -> None:
    with pytest.raises(UserError, match=r"^nothing://corpus: .*nothing"):
        place_of("nothing://corpus").check()
