"""Changing an index on disk. Whoever reads it meanwhile sees it as it was before, or as it is after.

- `index/current.json`: which generation counts, and which of its changes files; renamed into place
- `index/000002/codes.h5`: the generation's codes, never changed
- `index/000002/hasher/`: a copy of the hasher that made them, with the image model if that is the user's own,
  and its model card if there is one
- `index/000002/removed.json`: ids of videos that were taken out before
- `index/000002/changes-000005.h5`: what was added and removed since, as a whole
- `index/added/000003.h5`: features of videos that were added one by one, for the next hasher
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from ssvh_model.errors import UserError
from ssvh_model.files import atomic_path, check_regular, remove_temporaries
from ssvh_model.hdf5 import open_hdf5, read_texts
from ssvh_model.index.cells import Cells, cells_as_data, into_cells, make_cells
from ssvh_model.index.coded_videos import CodedVideos, write_coded_videos
from ssvh_model.index.known import Known, id_taken
from ssvh_model.index.settings import IndexSettings
from ssvh_model.index.snapshot import (
    CARD,
    CODES,
    FORMAT,
    HASHER,
    POINTER,
    REMOVED,
    REMOVED_ADDED,
    REMOVED_BEFORE,
    Pointer,
    Snapshot,
    consistently,
    open_snapshot,
    read_card,
)
from ssvh_model.locks import hold_lock
from ssvh_model.model.hasher_file import hasher_files

SETTINGS = "settings.json"
LOCK = "lock"
ADDED = "added"
# A changes file is written as a whole at every change. Above this size, or share of the generation, a new
# generation takes it in.
CHANGES_AT_ONCE = 10_000
CHANGES_SHARE = 0.1

Loaded = TypeVar("Loaded")
# Writes feature files, each to a path that it asks for.
KeepFeatures = Callable[[Callable[[], Path]], None]


class IndexFolder:
    """An index that can be changed. Changes wait for each other; none is half there after a kill.

    Args:
        folder: of the index; made at the first `replace`.

    Attributes:
        name: the folder, for people.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = str(folder)

    @contextlib.contextmanager
    def alone(self, say: Callable[[str], None] = lambda line: None) -> Iterator[None]:
        """Hold the index's lock; the system frees it when the process ends, however it ends.

        What a process that was killed has left in the folder is removed first.

        Args:
            say: takes a line if another process holds the lock, which is then waited for.
        """

        def waiting(holder: str) -> None:
            say(f"{self.folder}: process {holder} is changing this index; waiting until it is done")

        with hold_lock(self.folder / LOCK, waiting):
            self._remove_leftovers()
            self._remove_useless_features()
            yield

    def exists(self) -> bool:
        """True if there is an index to change."""
        return (self.folder / POINTER).is_file()

    def version(self) -> object:
        """What counts now; equal to an earlier one only if nothing has changed since.

        Raises:
            UserError: there is no index, or it is damaged.
        """
        pointer = Pointer.read(self.folder)
        try:
            # An index that was removed and made anew begins to count anew.
            return pointer, (self.folder / POINTER).stat().st_mtime_ns
        except OSError:
            return pointer, 0

    def snapshot(self, *, loaded: bool = False) -> Snapshot:
        """The index as it stands now; it goes on working when the index is changed, whether `loaded` or not.

        Raises:
            UserError: there is no index, or it is damaged.
        """
        return open_snapshot(self.folder)

    def load(self, work: Callable[[Snapshot, Path], Loaded]) -> Loaded:
        """Do something with one version of the index.

        Args:
            work: takes the snapshot, and the folder of the hasher that made its codes. It is called again if
                the index is changed meanwhile.

        Raises:
            UserError: there is no index, or a file of it is missing or damaged.
        """
        return consistently(
            self.folder,
            lambda pointer: work(Snapshot(self.folder, pointer), pointer.folder(self.folder) / HASHER),
        )

    def known(self, ids: Sequence[str]) -> dict[str, Known]:
        """What the index says of videos, those that it has.

        Raises:
            UserError: there is no index, or it is damaged.
        """
        snapshot, wanted = open_snapshot(self.folder), set(ids)
        rows = {video: row for row, video in enumerate(snapshot.ids()) if video in wanted}
        digests = self._digests(set(rows))
        return {
            video: Known(snapshot.text("labels", row), snapshot.text("paths", row), digests.get(video))
            for video, row in rows.items()
        }

    def _digests(self, ids: set[str]) -> dict[str, str]:
        """SHA-256 of the files that videos were added from, where it is known."""
        found: dict[str, str] = {}
        for path in reversed(self.kept_features()):
            if ids <= found.keys():
                break
            try:
                with open_hdf5(path, "feature file") as file:
                    if "sha256" in file:
                        videos, digests = read_texts(file, "ids"), read_texts(file, "sha256")
                        found = {**dict(zip(videos, digests, strict=True)), **found}
            except FileNotFoundError:  # `ssvh index` has just made all of them useless
                continue
        return found

    def kept_features(self) -> list[Path]:
        """The feature files of videos that were added to the index, the oldest first."""
        return sorted(path for path in (self.folder / ADDED).glob("*.h5") if path.stem.isdigit())

    def settings(self) -> IndexSettings:
        """How the present generation searches. For whoever holds the lock: it may be gone the next moment
        otherwise.

        Raises:
            UserError: there is no index, or it is damaged.
        """
        path = Pointer.read(self.folder).folder(self.folder) / SETTINGS
        try:
            check_regular(path)
            return IndexSettings(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise UserError(f"{path}: not readable ({error}); `ssvh index` makes the index anew") from error

    def hasher_folder(self) -> Path:
        """The present generation's copy of the hasher. For whoever holds the lock, as `settings`."""
        return Pointer.read(self.folder).folder(self.folder) / HASHER

    def replace(
        self,
        videos: CodedVideos,
        hasher: Path,
        settings: IndexSettings,
        *,
        seed: int,
        removed: Collection[str] = (),
        card: str = "",
        keep_features: bool = True,
    ) -> None:
        """Put a new generation in the place of all that there is.

        Args:
            videos: all rows of each.
            hasher: folder of the hasher that made their codes; copied.
            settings: how it is to search.
            seed: of the cells.
            removed: ids that were taken out, and are to stay out when the videos are encoded again.
            card: the hasher's model card, Markdown; "" if it has none.
            keep_features: of videos that were added one by one.

        Raises:
            UserError: the settings ask for what only PostgreSQL has.
        """
        if len(videos) > settings.exact_up_to and settings.approximate != "cells":
            raise UserError(
                f"index.approximate is {settings.approximate!r}, which an index in a folder can't do; allowed is 'cells'"
            )
        cells: Cells | None = None
        if len(videos) > settings.exact_up_to and len(videos) >= settings.cells:
            order, cells = make_cells(
                videos.codes, videos.bits, cells=settings.cells, probes=settings.probes, seed=seed
            )
            videos = videos.rows(order)
        self._replace(videos, cells, hasher, settings, removed, card)
        if not keep_features:
            shutil.rmtree(self.folder / ADDED, ignore_errors=True)

    def _replace(
        self,
        videos: CodedVideos,
        cells: Cells | None,
        hasher: Path,
        settings: IndexSettings,
        removed: Collection[str],
        card: str,
    ) -> None:
        number = 1 + max((int(name) for name in self._generations()), default=0)
        generation = f"{number:06d}"
        temporary = self.folder / f".{generation}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        (temporary / HASHER).mkdir(parents=True)
        for file in hasher_files(hasher):
            shutil.copyfile(file, temporary / HASHER / file.name)
        if card:
            (temporary / HASHER / CARD).write_text(card, encoding="utf-8")
        (temporary / SETTINGS).write_text(json.dumps(vars(settings), indent=2) + "\n")
        (temporary / REMOVED_BEFORE).write_text(json.dumps(sorted(removed)) + "\n")
        write_coded_videos(temporary / CODES, videos, **(cells_as_data(cells) if cells is not None else {}))
        _flush(temporary)
        os.replace(temporary, self.folder / generation)
        self._switch(Pointer(generation, 0))

    def keep(self, write: KeepFeatures) -> None:
        """Keep feature files of videos for the next hasher, and for a finer order of what is found.

        Args:
            write: writes them, each to a path that it asks for.
        """

        def next_path() -> Path:
            (self.folder / ADDED).mkdir(exist_ok=True)
            number = 1 + max((int(path.stem) for path in self.kept_features()), default=0)
            return self.folder / ADDED / f"{number:06d}.h5"

        write(next_path)

    def add(self, videos: CodedVideos, keep: KeepFeatures | None = None) -> None:
        """Add videos, all rows of each.

        Args:
            videos: that are not in the index.
            keep: writes their feature files, which say the digests of the videos' files: see `keep`. None to
                keep none.

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
                raise id_taken(str(self.folder), video)
        if keep is not None:
            # Before the codes: features that belong to no video do no harm, a video without them would be
            # lost to the next hasher.
            self.keep(keep)
        added = snapshot.added.whole().followed_by(videos) if snapshot.added is not None else videos
        self._change(snapshot, added, snapshot.removed)

    def remove(self, ids: Sequence[str]) -> list[str]:
        """Take videos out, all rows of each. Those that were taken out before stay out, so that a change that
        was killed can be asked for again.

        Returns:
            Ids that were taken out now.

        Raises:
            UserError: there is no index, or it never had such a video.
        """
        snapshot = open_snapshot(self.folder)
        here = set(snapshot.ids())
        gone = here.intersection(ids)
        if not here.issuperset(ids) and (missing := sorted({*ids} - here - snapshot.removed_ids())):
            raise UserError(
                f"{self.folder}: has no video {missing[0]!r}; `ssvh search` and codes files show ids"
            )
        if not gone:
            return []
        removed = snapshot.removed.tolist()
        already = set(removed)
        removed += [
            row for row, video in enumerate(snapshot.base.ids()) if video in gone and row not in already
        ]
        added = snapshot.added.whole() if snapshot.added is not None else snapshot.base.whole().rows([])
        added = added.rows([row for row, video in enumerate(added.ids) if video not in gone])
        self._change(snapshot, added, np.array(sorted(removed), dtype=np.int64))
        return [video for video in dict.fromkeys(ids) if video in gone]

    def _change(self, snapshot: Snapshot, added: CodedVideos, removed: np.ndarray) -> None:
        added_before = snapshot.added.ids() if snapshot.added is not None else []
        removed_added = sorted({*snapshot.removed_added(), *added_before}.difference(added.ids))
        changes = len(added) + len(removed) + len(removed_added)
        if changes > max(CHANGES_AT_ONCE, CHANGES_SHARE * len(snapshot.base)):
            kept = np.delete(np.arange(len(snapshot.base)), removed)
            whole = snapshot.base.whole().rows(kept).followed_by(added)
            out = snapshot.removed_ids().union(snapshot.ids()).difference(whole.ids)
            # With the same cells, or none as before: an answer must not hang on how many changes there were.
            cells = snapshot.cells
            if cells is not None:
                order, cells = into_cells(whole.codes, cells.centres, cells.probes)
                whole = whole.rows(order)
            hasher = self.hasher_folder()
            self._replace(whole, cells, hasher, self.settings(), out, read_card(hasher))
            return
        pointer = Pointer(snapshot.pointer.generation, snapshot.pointer.changes + 1)
        path = pointer.changes_file(self.folder)
        assert path is not None
        gone: dict[str, np.ndarray | list[str]] = {REMOVED: removed, REMOVED_ADDED: removed_added}
        write_coded_videos(path, added, **gone)
        self._switch(pointer)

    def _switch(self, pointer: Pointer) -> None:
        """Make `pointer` count, then remove what counts no more."""
        with atomic_path(self.folder / POINTER) as temporary:
            temporary.write_text(json.dumps({"format": FORMAT, **vars(pointer)}) + "\n")
        self._remove_leftovers()

    def _remove_leftovers(self) -> None:
        """Remove what counts no more, and what a process was writing when it was killed. Nobody else is
        writing: the lock is held.
        """
        try:
            pointer = Pointer.read(self.folder)
        except UserError:
            return  # nothing is removed by what can't be read
        for name in self._generations():
            if name != pointer.generation:
                shutil.rmtree(self.folder / name, ignore_errors=True)
        generation, changes = pointer.folder(self.folder), pointer.changes_file(self.folder)
        remove_temporaries(self.folder)
        remove_temporaries(generation)
        for path in generation.glob("changes-*.h5"):
            if path != changes:
                path.unlink(missing_ok=True)

    def _remove_useless_features(self) -> None:
        """Remove features that a call kept which was killed before it added the videos."""
        remove_temporaries(self.folder / ADDED)
        newest_first = self.kept_features()[::-1]
        if newest_first and self.exists():
            with contextlib.suppress(UserError):  # what is damaged is left to whoever needs it
                known = set(open_snapshot(self.folder).ids())
                for path in newest_first:
                    with open_hdf5(path, "feature file") as file:
                        useless = not known.intersection(read_texts(file, "ids"))
                    if not useless:
                        break
                    path.unlink()

    def _generations(self) -> list[str]:
        return [path.name for path in self.folder.iterdir() if path.is_dir() and path.name.isdigit()]


def _flush(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as written:
                os.fsync(written.fileno())
