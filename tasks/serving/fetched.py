"""Copies of videos that are elsewhere, such as in a bucket: those asked for last, as many as fit."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from ssvh_model.remote_folder import RemoteFolder
from ssvh_model.scratch import scratch_folder
from tasks.serving.problems import NO_ROOM, Problem

MEGABYTE = 10**6
SECONDS_TO_ROOM = 5


@dataclass
class _Copy:
    path: Path
    size: int
    users: int = 0
    made: Future[None] = field(default_factory=Future)


class FetchedVideos:
    """Keeps copies in a temporary folder, made for the first one, which goes with `close`. Their names are
    digests.

    Args:
        megabytes: of all copies together.
    """

    def __init__(self, megabytes: int) -> None:
        self._most = megabytes * MEGABYTE
        self._folder: TemporaryDirectory[str] | None = None
        self._copies: OrderedDict[str, _Copy] = OrderedDict()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Remove all copies."""
        if self._folder is not None:
            self._folder.cleanup()

    @contextmanager
    def opened(self, address: str) -> Iterator[Path]:
        """A video as a file of this machine, which stays while the block lasts. It is fetched if there is no
        copy of what it is now.

        Args:
            address: of the video, scheme://folder/name.

        Raises:
            FileNotFoundError: there is no such file.
            UserError: whoever asks may not read it.
            StorageAway: it can't be fetched just now.
            Problem: it is too large, or there is no room beside those that are being looked at.
        """
        folder, _, name = address.rpartition("/")
        remote = RemoteFolder(folder)
        size, stamp = remote.facts(name)
        if size > self._most:
            raise Problem(
                NO_ROOM,
                f"the video is elsewhere and has {size / MEGABYTE:.1f} MB; {self._most // MEGABYTE} MB are fetched, "
                "and more with `ssvh serve --fetched-megabytes`",
            )
        key = hashlib.sha256(f"{address}\n{stamp}".encode()).hexdigest()
        with self._lock:
            copy = self._copies.get(key)
            mine = copy is None
            if copy is None:
                self._make_room(size)
                copy = self._copies[key] = _Copy(self._place(key), size)
            copy.users += 1
            self._copies.move_to_end(key)
        try:
            if mine:
                self._fetch(remote, name, key, copy)
            copy.made.result()
            yield copy.path
        finally:
            with self._lock:
                copy.users -= 1

    def _place(self, key: str) -> Path:
        if self._folder is None:
            self._folder = TemporaryDirectory(prefix="fetched-", dir=scratch_folder())
        return Path(self._folder.name) / key

    def _fetch(self, remote: RemoteFolder, name: str, key: str, copy: _Copy) -> None:
        try:
            remote.fetch(name, copy.path)
        except BaseException as error:
            with self._lock:  # before somebody else begins to fetch it
                copy.path.unlink(missing_ok=True)
                del self._copies[key]
            copy.made.set_exception(error)
        else:
            copy.made.set_result(None)

    def _make_room(self, size: int) -> None:
        """Drop what was asked for longest ago until a new copy fits; the lock is held."""
        left = self._most - size - sum(copy.size for copy in self._copies.values())
        unused = [key for key, copy in self._copies.items() if not copy.users]
        while left < 0 and unused:
            copy = self._copies.pop(unused.pop(0))
            copy.path.unlink(missing_ok=True)
            left += copy.size
        if left < 0:
            raise Problem(
                NO_ROOM,
                f"videos from elsewhere that are being looked at fill the {self._most // MEGABYTE} MB that are kept "
                "for them; `ssvh serve --fetched-megabytes` keeps more",
                retry_after=SECONDS_TO_ROOM,
            )
