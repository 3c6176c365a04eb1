"""Where videos are: in a folder of this machine, or one that fsspec reaches, such as s3://bucket/videos."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ssvh_model.errors import UserError
from ssvh_model.files import is_address, sha256_of
from ssvh_model.manifest import Video
from ssvh_model.remote_folder import RemoteFolder
from ssvh_model.scratch import scratch_folder
from ssvh_model.video.container import UnreadableVideo


class VideoPlace(Protocol):
    """A folder that the paths of videos are relative to."""

    def check(self) -> None:
        """Raises UserError if there is no such folder."""
        ...

    def name_of(self, path: str) -> str:
        """Path or address of a file whose path in the folder is known; of "", of the folder."""
        ...

    def path_in(self, name: str) -> str:
        """The path in the folder of a file that is named by its whole path or address; other names as they
        are.
        """
        ...

    def files(self) -> tuple[list[str], list[str]]:
        """Paths of the files in it, and of links to files out of it; sorted, with forward slashes.

        Hidden files and folders, and links to folders, are passed over.
        """
        ...

    def has_file(self, path: str) -> bool:
        """Whether there is such a file, hidden or not; false for a name that no file can have."""
        ...

    def read(self, path: str) -> bytes:
        """The content of a file.

        Raises:
            FileNotFoundError: there is no such file.
            StorageAway: it can't be fetched.
        """
        ...

    def opened(self, video: Video) -> AbstractContextManager[Path]:
        """The video as a file of this machine, while the block lasts.

        Raises:
            UnreadableVideo: there is no such file.
            UserError: it is another one than the manifest says.
            StorageAway: it can't be fetched.
        """
        ...


def place_of(text: str) -> LocalPlace | RemotePlace:
    """The folder of a path or an address."""
    return RemotePlace(RemoteFolder(text.rstrip("/"))) if is_address(text) else LocalPlace(Path(text))


@contextmanager
def opened_file(name: str) -> Iterator[Path]:
    """A video by its path or address: as a file of this machine, while the block lasts.

    Raises:
        UnreadableVideo: there is no such file at the address; of a path, whoever reads it finds out.
        UserError, StorageAway: as `RemoteFolder.fetch`.
    """
    folder, _, file = name.rpartition("/")
    place, path = (place_of(folder), file) if is_address(name) else (place_of("."), name)
    with place.opened(Video(id=path, path=path)) as opened:
        yield opened


@dataclass(frozen=True)
class LocalPlace:
    """A folder of this machine, or that it has mounted."""

    root: Path

    def check(self) -> None:
        """See `VideoPlace`."""
        if not self.root.is_dir():
            raise UserError(f"there is no folder {self.root}")

    def name_of(self, path: str) -> str:
        """See `VideoPlace`."""
        return str(self.root / path)

    def path_in(self, name: str) -> str:
        """See `VideoPlace`."""
        whole, root = Path(name), self.root.absolute()
        return whole.relative_to(root).as_posix() if whole.is_relative_to(root) else name

    def files(self) -> tuple[list[str], list[str]]:
        """See `VideoPlace`."""
        inside: list[str] = []
        outside: list[str] = []
        real_root = self.root.resolve()
        for folder, subfolders, names in os.walk(self.root):
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
            for name in names:
                if name.startswith("."):
                    continue
                path = Path(folder, name)
                # Of a link to itself that too, which `resolve` does not like.
                real = Path(os.path.realpath(path))
                relative = path.relative_to(self.root).as_posix()
                (inside if real.is_relative_to(real_root) else outside).append(relative)
        return sorted(inside), sorted(outside)

    def has_file(self, path: str) -> bool:
        """See `VideoPlace`."""
        return os.path.isfile(self.root / path)

    def read(self, path: str) -> bytes:
        """See `VideoPlace`. What is no file, such as a pipe, which nothing may come out of, is none here
        either.
        """
        if not (file := self.root / path).is_file():
            raise FileNotFoundError(file)
        return file.read_bytes()

    @contextmanager
    def opened(self, video: Video) -> Iterator[Path]:
        """See `VideoPlace`; whoever reads the file finds out whether it is there."""
        yield self.root / video.path


@dataclass(frozen=True)
class RemotePlace:
    """A folder that fsspec reaches. One video at a time of each thread lies in the folder for temporary
    files.

    Attributes:
        folder: where it is.
    """

    folder: RemoteFolder

    def check(self) -> None:
        """See `VideoPlace`."""
        self.folder.check()

    def name_of(self, path: str) -> str:
        """See `VideoPlace`."""
        return f"{self.folder.address}/{path}" if path else self.folder.address

    def path_in(self, name: str) -> str:
        """See `VideoPlace`."""
        return name.removeprefix(f"{self.folder.address}/")

    def files(self) -> tuple[list[str], list[str]]:
        """See `VideoPlace`; no link leads out of it."""
        return [*self.folder.stamps], []

    def has_file(self, path: str) -> bool:
        """See `VideoPlace`."""
        return self.folder.has_file(path)

    def read(self, path: str) -> bytes:
        """See `VideoPlace`."""
        return self.folder.read(path)

    @contextmanager
    def opened(self, video: Video) -> Iterator[Path]:
        """See `VideoPlace`."""
        with tempfile.TemporaryDirectory(dir=scratch_folder()) as scratch:
            copy = Path(scratch) / Path(video.path).name
            try:
                self.folder.fetch(video.path, copy)
            except FileNotFoundError as error:
                raise UnreadableVideo("missing: there is no such file") from error
            if video.sha256 and (found := sha256_of(copy)) != video.sha256:
                raise UserError(
                    f"{self.name_of(video.path)}: has the SHA-256 {found[:12]}...; allowed is {video.sha256[:12]}..., "
                    "as in the manifest"
                )
            yield copy
