"""Where videos are: in a folder of this machine, or one that fsspec reaches, such as s3://bucket/videos."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ssvh_model.errors import UserError
from ssvh_model.files import sha256_of
from ssvh_model.manifest import Video
from ssvh_model.video.container import UnreadableVideo


class VideoAway(UserError):
    """A video that can't be fetched just now, though it may be there: the same may succeed later."""


class VideoPlace(Protocol):
    """A folder that the paths of videos are relative to."""

    def check(self) -> None:
        """Raises UserError if there is no such folder."""
        ...

    def opened(self, video: Video) -> AbstractContextManager[Path]:
        """The video as a file of this machine, while the block lasts.

        Raises:
            UnreadableVideo: there is no such file.
            UserError: it is another one than the manifest says.
            VideoAway: it can't be fetched.
        """
        ...


def place_of(text: str) -> VideoPlace:
    """A path, or an address of the form scheme://folder."""
    return RemotePlace(text.rstrip("/")) if "://" in text else LocalPlace(Path(text))


@dataclass(frozen=True)
class LocalPlace:
    """A folder of this machine, or that it has mounted."""

    root: Path

    def check(self) -> None:
        """See `VideoPlace`."""
        if not self.root.is_dir():
            raise UserError(f"there is no folder {self.root}")

    @contextmanager
    def opened(self, video: Video) -> Iterator[Path]:
        """See `VideoPlace`; whoever reads the file finds out whether it is there."""
        yield self.root / video.path


@dataclass(frozen=True)
class RemotePlace:
    """A folder that fsspec reaches. One video at a time of each thread lies in the folder for temporary files.

    Attributes:
        address: scheme://folder.
    """

    address: str

    def check(self) -> None:
        """See `VideoPlace`."""
        import fsspec

        try:
            files, root = fsspec.core.url_to_fs(self.address)
            there = files.isdir(root)
        except (ImportError, ValueError) as error:
            raise UserError(f"{self.address}: {error}") from error
        except Exception as error:  # each kind of storage has kinds of its own
            raise VideoAway(f"{self.address}: can't be looked at ({_line(error)})") from error
        if not there:
            raise UserError(f"there is no folder {self.address}")

    @contextmanager
    def opened(self, video: Video) -> Iterator[Path]:
        """See `VideoPlace`."""
        import fsspec

        files, root = fsspec.core.url_to_fs(self.address)
        name = f"{self.address}/{video.path}"
        with tempfile.TemporaryDirectory(prefix="ssvh-video-") as scratch:
            copy = Path(scratch) / Path(video.path).name
            try:
                files.get_file(f"{root}/{video.path}", str(copy))
            except FileNotFoundError as error:
                raise UnreadableVideo("missing: there is no such file") from error
            except Exception as error:
                raise VideoAway(f"{name}: can't be fetched ({_line(error)})") from error
            if video.sha256 and (found := sha256_of(copy)) != video.sha256:
                raise UserError(
                    f"{name}: has the SHA-256 {found[:12]}...; allowed is {video.sha256[:12]}..., as in the manifest"
                )
            yield copy


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
