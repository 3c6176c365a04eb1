"""Changing an index on disk. Whoever reads it meanwhile sees it as it was before, or as it is after.

index/current.json          which generation counts, and which of its changes files; renamed into place
index/000002/codes.h5       the generation's codes, never changed
index/000002/hasher/        a copy of the hasher that made them
index/000002/removed.json   ids of its feature file's videos that were taken out before
index/000002/changes-000005.h5   what was added and removed since, as a whole
index/added/                features of videos that were added one by one, for the next hasher
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssvh_model.errors import UserError
from ssvh_model.files import atomic_path
from ssvh_model.index.cells import cells_as_data, make_cells
from ssvh_model.index.coded_videos import CodedVideos, write_coded_videos
from ssvh_model.index.snapshot import (
    CODES,
    FORMAT,
    HASHER,
    POINTER,
    REMOVED,
    Pointer,
    Snapshot,
    open_snapshot,
)
from ssvh_model.model.hasher_file import DESCRIPTION, WEIGHTS

SETTINGS = "settings.json"
REMOVED_BEFORE = "removed.json"
# A changes file is written as a whole at every change. Above this size, or share of the generation, a new generation takes it in.
CHANGES_AT_ONCE = 10_000
CHANGES_SHARE = 0.1


@dataclass(frozen=True)
class IndexSettings:
    """How an index searches.

    Attributes:
        exact_up_to: videos; with more, a query looks into some cells only.
        cells: number of cells then.
        probes: cells that a query looks into.
    """

    exact_up_to: int
    cells: int
    probes: int


class IndexFolder:
    """An index that can be changed. Changes wait for each other; none is half there after a kill.

    Args:
        folder: of the index; made at the first `replace`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the index's lock; the system frees it when the process ends, however it ends."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "lock", "a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def exists(self) -> bool:
        """True if there is an index to change."""
        return (self.folder / POINTER).is_file()

    def settings(self) -> IndexSettings:
        """How the present generation searches.

        Raises:
            UserError: there is no index, or it is damaged.
        """
        path = Pointer.read(self.folder).folder(self.folder) / SETTINGS
        try:
            return IndexSettings(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise UserError(f"{path}: not readable ({error}); `ssvh index` makes the index anew") from error

    def hasher_folder(self) -> Path:
        """The present generation's copy of the hasher."""
        return Pointer.read(self.folder).folder(self.folder) / HASHER

    def replace(
        self,
        videos: CodedVideos,
        hasher: Path,
        settings: IndexSettings,
        *,
        seed: int,
        removed: Collection[str] = (),
    ) -> None:
        """Put a new generation in the place of all that there is.

        Args:
            videos: with unique ids.
            hasher: folder of the hasher that made their codes; copied.
            settings: how it is to search.
            seed: of the cells.
            removed: ids that were taken out, and are to stay out when the videos are encoded again.
        """
        more = {}
        if len(videos) > settings.exact_up_to and len(videos) >= settings.cells:
            order, cells = make_cells(
                videos.codes, videos.bits, cells=settings.cells, probes=settings.probes, seed=seed
            )
            videos, more = videos.rows(order), cells_as_data(cells)
        number = 1 + max((int(name) for name in self._generations()), default=0)
        generation = f"{number:06d}"
        temporary = self.folder / f".{generation}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        (temporary / HASHER).mkdir(parents=True)
        for name in (WEIGHTS, DESCRIPTION):
            shutil.copyfile(hasher / name, temporary / HASHER / name)
        (temporary / SETTINGS).write_text(json.dumps(vars(settings), indent=2) + "\n")
        (temporary / REMOVED_BEFORE).write_text(json.dumps(sorted(removed)) + "\n")
        write_coded_videos(temporary / CODES, videos, **more)
        _flush(temporary)
        os.replace(temporary, self.folder / generation)
        self._switch(Pointer(generation, 0))

    def add(self, videos: CodedVideos, *, seed: int) -> None:
        """Add videos.

        Raises:
            UserError: there is no index, it has a video of the same id, or its codes are by another hasher.
        """
        snapshot = open_snapshot(self.folder)
        if videos.hasher.sha256 != snapshot.hasher.sha256:
            raise UserError(
                f"{self.folder}: its codes are by {snapshot.hasher.name}, the new ones by {videos.hasher.name}; "
                "codes of different hashers can't be compared"
            )
        known = set(snapshot.ids())
        for video in videos.ids:
            if video in known:
                raise UserError(
                    f"{self.folder}: has a video {video!r} already; `ssvh remove {video}` takes it out"
                )
            known.add(video)
        added = snapshot.added.whole().followed_by(videos) if snapshot.added is not None else videos
        self._change(snapshot, added, snapshot.removed, seed)

    def remove(self, ids: Sequence[str], *, seed: int) -> None:
        """Take videos out.

        Raises:
            UserError: there is no index, or it has no such video.
        """
        snapshot = open_snapshot(self.folder)
        gone = set(ids)
        if missing := sorted(gone.difference(snapshot.ids())):
            raise UserError(
                f"{self.folder}: has no video {missing[0]!r}; `ssvh search` and codes files show ids"
            )
        removed = snapshot.removed.tolist()
        already = set(removed)
        removed += [
            row for row, video in enumerate(snapshot.base.ids()) if video in gone and row not in already
        ]
        added = snapshot.added.whole() if snapshot.added is not None else snapshot.base.whole().rows([])
        added = added.rows([row for row, video in enumerate(added.ids) if video not in gone])
        self._change(snapshot, added, np.array(sorted(removed), dtype=np.int64), seed)

    def removed_ids(self, snapshot: Snapshot) -> set[str]:
        """Videos that were taken out and not added again."""
        base = snapshot.base.ids()
        before = json.loads((snapshot.pointer.folder(self.folder) / REMOVED_BEFORE).read_text())
        return {*before, *(base[row] for row in snapshot.removed.tolist())}.difference(snapshot.ids())

    def _change(self, snapshot: Snapshot, added: CodedVideos, removed: np.ndarray, seed: int) -> None:
        if len(added) + len(removed) > max(CHANGES_AT_ONCE, CHANGES_SHARE * len(snapshot.base)):
            kept = np.delete(np.arange(len(snapshot.base)), removed)
            whole = snapshot.base.whole().rows(kept).followed_by(added)
            gone = self.removed_ids(snapshot).union(snapshot.ids()).difference(whole.ids)
            self.replace(whole, self.hasher_folder(), self.settings(), seed=seed, removed=gone)
            return
        pointer = Pointer(snapshot.pointer.generation, snapshot.pointer.changes + 1)
        path = pointer.changes_file(self.folder)
        assert path is not None
        write_coded_videos(path, added, **{REMOVED: removed})
        self._switch(pointer)

    def _switch(self, pointer: Pointer) -> None:
        """Make `pointer` count, then remove what counts no more."""
        with atomic_path(self.folder / POINTER) as temporary:
            temporary.write_text(json.dumps({"format": FORMAT, **vars(pointer)}) + "\n")
        for name in self._generations():
            if name != pointer.generation:
                shutil.rmtree(self.folder / name, ignore_errors=True)
        for leftover in self.folder.glob(".*.tmp"):
            shutil.rmtree(leftover, ignore_errors=True)
        for path in pointer.folder(self.folder).glob("changes-*.h5"):
            if path != pointer.changes_file(self.folder):
                path.unlink(missing_ok=True)

    def _generations(self) -> list[str]:
        return [path.name for path in self.folder.iterdir() if path.is_dir() and path.name.isdigit()]


def _flush(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as written:
                os.fsync(written.fileno())
