"""An index as it stands at one moment: what a query sees, wholly of one version."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from ssvh_model.errors import UserError
from ssvh_model.files import check_regular
from ssvh_model.hdf5 import checked_data_set, damage_reported, read_texts
from ssvh_model.index.cells import Cells, CellSearch, load_cells
from ssvh_model.index.coded_videos import CodedVideos, CodesFile, Facts, HasherIdentity, count_videos
from ssvh_model.index.hit import Hit, hits_of
from ssvh_model.index.scan import nearest
from ssvh_model.model.hasher_file import hasher_digest, load_saved_hasher, read_carried_model
from ssvh_model.moments.film_rows import FilmRows
from ssvh_model.moments.matching import Group, Moment, Rows, find_moments
from ssvh_model.moments.query import Query
from ssvh_model.retrieval.hamming import as_words

if TYPE_CHECKING:
    from ssvh_model.features import FeatureMeta
    from ssvh_model.model.hasher import VideoHasher

POINTER = "current.json"
CODES = "codes.h5"
HASHER = "hasher"
CARD = "model_card.md"  # in the hasher's folder, where its model card is known
REMOVED, REMOVED_ADDED = "removed_rows", "removed_ids"
REMOVED_BEFORE = "removed.json"
FORMAT = 1
MOST_CHANGES = 10**18  # what is above is no number that was counted up to
TRIES = 100  # a reader that is overtaken by so many switches in a row has another problem

Loaded = TypeVar("Loaded")


@dataclass(frozen=True)
class Pointer:
    """What `current.json` says: which generation of the index counts, and which of its changes files.

    Attributes:
        generation: name of a folder in the index's folder.
        changes: number of the changes file; 0 for none.
    """

    generation: str
    changes: int

    @classmethod
    def read(cls, folder: Path) -> Pointer:
        """Read it.

        Raises:
            UserError: there is no index, or it is damaged.
        """
        path = folder / POINTER
        try:
            check_regular(path)
            content = json.loads(path.read_text(encoding="utf-8"))
            pointer = cls(content["generation"], content["changes"])
            known = content["format"] == FORMAT
        except FileNotFoundError:
            raise UserError(
                f"{folder}: there is no index; `ssvh index` makes one, --index names another"
            ) from None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(f"{path}: not readable ({error}); `ssvh index` makes the index anew") from None
        # It comes from a file, so that it must not lead out of the folder.
        if (
            not known
            or not isinstance(pointer.generation, str)
            or not re.fullmatch(r"[0-9]{6,20}", pointer.generation)
            or type(pointer.changes) is not int
            or not 0 <= pointer.changes < MOST_CHANGES
        ):
            raise UserError(
                f"{path}: not of the form that this version writes; `ssvh index` makes the index anew"
            )
        return pointer

    def folder(self, index: Path) -> Path:
        """The generation's folder."""
        return index / self.generation

    def changes_file(self, index: Path) -> Path | None:
        """The changes file, if there is one."""
        return self.folder(index) / f"changes-{self.changes:06d}.h5" if self.changes else None


def consistently(folder: Path, load: Callable[[Pointer], Loaded]) -> Loaded:
    """Load files that belong to one pointer; if a writer takes them away meanwhile, those of the next.

    Raises:
        UserError: there is no index, or a file of it is missing or damaged.
    """
    for _ in range(TRIES):
        pointer = Pointer.read(folder)
        try:
            return load(pointer)
        except (OSError, UserError) as error:
            if Pointer.read(folder) != pointer:
                continue
            if isinstance(error, UserError):
                raise
            reason = "missing" if isinstance(error, FileNotFoundError) else f"not readable ({error.strerror})"
            raise UserError(
                f"{error.filename or folder}: a file of the index is {reason}; `ssvh index` makes it anew"
            ) from error
    raise UserError(f"{folder}: the index changes faster than it can be read")


class Overtaken(UserError):
    """The index was replaced before a snapshot of it could answer: ask the next one."""


class Snapshot:
    """The rows of an index: those of the generation that were not removed since, then those that were added
    since.

    A video has one row, or one for each of its segments (`CodedVideos`).

    Files are opened once and stay open, so that a snapshot goes on working after the index was changed or
    replaced.

    Attributes:
        pointer: what it is a snapshot of.
        hasher: that made the codes.
        bits: K.
        source: the feature file that the generation was made from; "" if there is none.
        words: the codes of all rows, [n, words] uint64.
        cells: how the generation's codes are ordered, if the search is not exact.

    Raises:
        FileNotFoundError, UserError: a file is missing or damaged. See `consistently`.
    """

    def __init__(self, folder: Path, pointer: Pointer) -> None:
        self.pointer = pointer
        self._base = CodesFile(pointer.folder(folder) / CODES)
        self.hasher: HasherIdentity = self._base.hasher
        self.bits = self._base.bits
        self.source = self._base.source
        changes = pointer.changes_file(folder)
        self._added = CodesFile(changes) if changes else None
        base = as_words(self._base.codes)
        self.removed = np.empty(0, dtype=np.int64)
        if self._added is not None:
            if self._added.hasher.sha256 != self.hasher.sha256:
                raise UserError(
                    f"{changes}: its codes are by {self._added.hasher.name}, the index's by {self.hasher.name}"
                )
            with damage_reported(self._added.path, "changes file"):
                self.removed = np.sort(checked_data_set(self._added.file, REMOVED)[:].astype(np.int64))
            if self.removed.ndim != 1:
                raise UserError(
                    f"{changes}: {REMOVED!r} has the shape {list(self.removed.shape)}; allowed is a list"
                )
            if len(self.removed) and not 0 <= self.removed[0] <= self.removed[-1] < len(base):
                raise UserError(f"{changes}: it removes rows that the index does not have")
        self._kept = np.delete(np.arange(len(base)), self.removed) if len(self.removed) else None
        self.words = base if self._kept is None else base[self._kept]
        self._from_base = len(self.words)
        if self._added is not None:
            self.words = np.concatenate([self.words, as_words(self._added.codes)])
        with damage_reported(self._base.path, "codes file"):
            self.cells: Cells | None = load_cells(self._base.file, len(base))
        self._removed_before = pointer.folder(folder) / REMOVED_BEFORE
        check_regular(self._removed_before)
        self._removed_before_content = self._removed_before.read_bytes()

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.words)

    @cached_property
    def spans(self) -> np.ndarray:
        """Seconds at which what each row is of starts and ends, [n, 2] float32.

        Raises:
            UserError: the file is damaged.
        """
        base = self._base.spans()
        kept = base if self._kept is None else base[self._kept]
        return kept if self._added is None else np.concatenate([kept, self._added.spans()])

    @cached_property
    def films(self) -> FilmRows | None:
        """Which rows are segments of which video; None if each video has one row."""
        return None if self.videos == len(self) else FilmRows.of_videos(self.ids(), self.spans)

    @cached_property
    def videos(self) -> int:
        """Number of videos."""
        return count_videos(self.spans)

    def nearest(self, codes: np.ndarray, count: int, *, exact: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """The nearest rows of each code.

        Args:
            codes: [q, ceil(bits / 8)] uint8.
            count: how many, at least 1; less where the index is smaller.
            exact: look at every row even where the index has cells.

        Returns:
            Rows [q, count] int64, nearest first and equally near ones by row, and their distances [q, count]
            int32. With cells, -1 where fewer were found.

        Raises:
            ValueError: the codes have another number of bytes.
        """
        if codes.shape[1] != self._base.codes.shape[1]:
            raise ValueError(f"codes of {codes.shape[1]} bytes; the index has {self._base.codes.shape[1]}")
        query = as_words(codes)
        if self.cells is None or exact:
            return nearest(query, self.words, count=count)
        return self._cell_search.nearest(query, count)

    @cached_property
    def _cell_search(self) -> CellSearch:
        assert self.cells is not None, "without cells every row is looked at"
        return CellSearch(self.cells, self.words, self._kept)

    def hits(self, codes: np.ndarray, count: int, group: Group) -> list[list[Hit]]:
        """What is nearest to each code.

        Args:
            codes: [q, ceil(bits / 8)] uint8.
            count: how many, at least 1; less where the index is smaller.
            group: video (the best row of each video) | none (several of one, too).

        Returns:
            A list for each code, nearest first; equally near ones in the order of the rows.
        """
        if self.films is not None:
            rows = Rows(self.nearest, self.words, self.spans, self.films)
            found = [find_moments(Query(0.0, code), rows, count, group) for code in codes]
        else:
            # All codes in one go through the index, which is faster.
            spans = self.spans
            found = [
                [Moment(row, bits, *spans[row].tolist()) for row, bits in zip(*both, strict=True) if row >= 0]
                for both in zip(*(part.tolist() for part in self.nearest(codes, count)), strict=True)
            ]
        return hits_of(self, found)

    @property
    def search(self) -> str:
        """How it is searched, for a person."""
        if self.cells is None:
            return "exact search"
        return f"search in {self.cells.probes} of {len(self.cells.ends)} cells"

    def facts(self, rows: Sequence[int]) -> dict[int, Facts]:
        """What is known of some rows."""
        places = {row: self._place(row) for row in rows}
        read = {
            file: file.facts([place for other, place in places.values() if other is file])
            for file in {file for file, _ in places.values()}
        }
        return {row: read[file][place] for row, (file, place) in places.items()}

    def text(self, name: str, row: int) -> str:
        """One entry of `ids`, `labels` or `paths`."""
        file, place = self._place(row)
        return file.text(name, place)

    def duration(self, row: int) -> float:
        """Seconds of a video; 0 if unknown."""
        file, place = self._place(row)
        return file.duration(place)

    def span(self, row: int) -> tuple[float, float]:
        """Seconds at which what a row is of starts and ends."""
        file, place = self._place(row)
        return file.span(place)

    def _place(self, row: int) -> tuple[CodesFile, int]:
        if row >= self._from_base:
            assert self._added is not None, "there are no rows beyond the generation's without a changes file"
            return self._added, row - self._from_base
        return self._base, row if self._kept is None else int(self._kept[row])

    @property
    def base(self) -> CodesFile:
        """The generation's rows, those removed since among them."""
        return self._base

    @property
    def added(self) -> CodesFile | None:
        """The rows added since."""
        return self._added

    def ids(self) -> list[str]:
        """The id of each row."""
        base = self._base.ids()
        kept = base if self._kept is None else [base[row] for row in self._kept.tolist()]
        return kept + (self._added.ids() if self._added is not None else [])

    def removed_ids(self) -> set[str]:
        """Videos that were taken out and not added again.

        Raises:
            UserError: the list of those that were taken out before this generation is damaged.
        """
        try:
            before = json.loads(self._removed_before_content)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{self._removed_before}: not readable ({error})") from error
        if not isinstance(before, list) or not all(isinstance(video, str) for video in before):
            raise UserError(f"{self._removed_before}: no list of ids; `ssvh index` makes the index anew")
        base = self._base.ids()
        since = {base[row] for row in self.removed.tolist()}
        return since.union(before, self.removed_added()).difference(self.ids())

    def removed_added(self) -> list[str]:
        """Videos that were added since the generation was made, and taken out again."""
        if self._added is None:
            return []
        with damage_reported(self._added.path, "changes file"):
            return read_texts(self._added.file, REMOVED_ADDED) if REMOVED_ADDED in self._added.file else []

    def whole(self) -> CodedVideos:
        """All rows, in memory."""
        base = self._base.whole()
        kept = base if self._kept is None else base.rows(self._kept)
        return kept if self._added is None else kept.followed_by(self._added.whole())


def read_card(hasher: Path) -> str:
    """The model card in a hasher's folder, Markdown; "" if there is none that can be read."""
    try:
        check_regular(hasher / CARD)
        return (hasher / CARD).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


class OpenHasher(NamedTuple):
    """A hasher that is read, whatever becomes of its files.

    Attributes:
        hasher: in evaluation mode on the CPU.
        features: how its features were made.
        model: the file of the user's image model that made them; None if a package has their backbone, or if
            it is gone.
    """

    hasher: VideoHasher
    features: FeatureMeta
    model: bytes | None


def open_hasher(hasher: Path, made: HasherIdentity) -> OpenHasher:
    """The hasher that made the codes of an index. For `load` of the index.

    Args:
        hasher: folder of its files.
        made: which one it must be.

    Raises:
        OSError, UserError: it is missing, damaged, or another one.
    """
    if hasher_digest(hasher) != made.sha256:
        raise UserError(f"{hasher}: not the hasher that made the codes of this index, {made.name}")
    network, features = load_saved_hasher(hasher)
    return OpenHasher(network, features, read_carried_model(hasher, features))


def open_snapshot(folder: Path) -> Snapshot:
    """The index as it stands now.

    Raises:
        UserError: there is no index in `folder`, or it is damaged.
    """
    return consistently(folder, lambda pointer: Snapshot(folder, pointer))
