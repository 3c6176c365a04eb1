"""An index in PostgreSQL as it stands at one moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ssvh_model.errors import UserError
from ssvh_model.index.cells import Cells
from ssvh_model.index.coded_videos import CodedVideos, Facts, HasherIdentity
from ssvh_model.index.hex_codes import code_to_hex
from ssvh_model.index.hit import Hit, hit_of
from ssvh_model.index.known import Known
from ssvh_model.index.postgres.database import Database
from ssvh_model.index.postgres.tables import FORMAT, bit_text, code_of, read_rows, table_of
from ssvh_model.index.scan import nearest
from ssvh_model.index.settings import IndexSettings
from ssvh_model.index.snapshot import Overtaken, Pointer
from ssvh_model.moments.film_rows import FilmRows
from ssvh_model.moments.matching import GROWTH, Group
from ssvh_model.retrieval.hamming import as_words

if TYPE_CHECKING:
    import psycopg

LARGEST_REACH = 1000  # that pgvector takes

Result = TypeVar("Result")


@dataclass(frozen=True)
class State:
    """The row of `ssvh.index`.

    Attributes:
        pointer: generation and changes.
        made: when the generation was made, as text: counting begins anew in an index that is made anew.
        videos, rows: how many there are.
        bits: K.
        hasher: that made the codes.
        card: its model card.
        source: the feature file that the codes were made from; "" if there is none.
        search: exact, cells or hnsw.
        settings: of the index.
    """

    pointer: Pointer
    made: str
    videos: int
    rows: int
    bits: int
    hasher: HasherIdentity
    card: str
    source: str
    search: str
    settings: IndexSettings

    @classmethod
    def read(cls, connection: psycopg.Connection, name: str) -> State:
        """Read it.

        Args:
            connection: to the database.
            name: of the database, for messages.

        Raises:
            UserError: there is no index, or another version has made it.
            psycopg.Error: as the database says.
        """
        found = connection.execute(
            "SELECT format, generation, changes, made::text, videos, rows, bits, hasher_model, hasher_version, "
            "hasher_sha256, card, source, search, settings FROM ssvh.index"
        ).fetchone()
        if found is None:
            raise UserError(f"{name}: there is no index; `ssvh index` makes one")
        form, generation, changes, made, videos, rows, bits, *hasher, card, source, search, settings = found
        check_format(form, name)
        try:
            known = IndexSettings(**settings)
        except (TypeError, ValueError) as error:
            raise UserError(f"{name}: ssvh.index.settings is not readable ({error})") from error
        pointer = Pointer(f"{generation:06d}", changes)
        return cls(pointer, made, videos, rows, bits, HasherIdentity(*hasher), card, source, search, known)


def check_format(found: int, name: str) -> None:
    """Make sure that this version knows the tables.

    Raises:
        UserError: another version has made them.
    """
    if found != FORMAT:
        raise UserError(
            f"{name}: its tables are of format {found}; this version reads {FORMAT}. `DROP SCHEMA ssvh CASCADE` makes room for a new index"
        )


class PostgresSnapshot:
    """The rows of an index in PostgreSQL at one moment.

    What is nearest (`hits`) or known is asked from the server. All else loads every row when it is first
    asked for, and goes on working after the index was changed.

    Args:
        database: with the index.
        state: that it is a snapshot of.

    Attributes:
        pointer, hasher, bits, source, videos: as in `Snapshot`.
        cells: None; loaded rows are all looked at.

    Raises:
        Overtaken: the rows were not loaded yet, and the index is another one by now.
    """

    def __init__(self, database: Database, state: State) -> None:
        self.state = state
        self.pointer, self.hasher, self.bits = state.pointer, state.hasher, state.bits
        self.source, self.videos = state.source, state.videos
        self.cells: Cells | None = None
        self._database = database

    def __len__(self) -> int:
        """Number of rows."""
        return self.state.rows

    @property
    def search(self) -> str:
        """How it is searched, for a person."""
        settings = self.state.settings
        return {
            "exact": "exact search",
            "cells": f"search in {settings.probes} of {settings.cells} cells",
            "hnsw": f"search by HNSW, reach {settings.reach}",
        }[self.state.search]

    def hits(self, codes: np.ndarray, count: int, group: Group) -> list[list[Hit]]:
        """What is nearest to each code: see `Snapshot.hits`.

        Raises:
            Overtaken: another generation is in the place of this one.
            ValueError: the codes have another number of bytes.
        """
        size = -(-self.bits // 8)
        if codes.shape[1] != size:
            raise ValueError(f"codes of {codes.shape[1]} bytes; the index has {size}")
        nearest = self._nearest if group == "none" else self._nearest_videos

        def ask(connection: psycopg.Connection) -> list[list[Hit]]:
            if self.state.search != "exact":
                self._reach(connection, count)
            return [nearest(connection, bit_text(code, self.bits), count) for code in codes]

        return self._read(ask)

    def _reach(self, connection: psycopg.Connection, count: int) -> None:
        """How far approximate searches of this transaction look."""
        settings = self.state.settings
        chosen = {
            "hnsw.ef_search": min(max(settings.reach, count), LARGEST_REACH),
            "hnsw.iterative_scan": "strict_order",  # so that there are as many as were asked for
            "ivfflat.probes": settings.probes,
            "ivfflat.iterative_scan": "relaxed_order",
        }
        for name, value in chosen.items():
            connection.execute("SELECT set_config(%s, %s, true)", (name, str(value)))

    def _nearest(self, connection: psycopg.Connection, code: str, count: int) -> list[Hit]:
        table = table_of(self.pointer.generation)
        far = f"code <~> %(code)s::bit({self.bits})"
        # No index fits the order of whole numbers, so that every row is looked at.
        order = f"({far})::int, row" if self.state.search == "exact" else far
        # What is known of the videos is joined afterwards: to carry it through the sort takes as long as the
        # sort.
        query = f"""
            SELECT id, array_to_string(labels, '|'), path, duration, code, distance, start, "end"
            FROM (SELECT row, ({far})::int AS distance FROM {table} ORDER BY {order} LIMIT %(count)s) AS nearest
            JOIN {table} USING (row) ORDER BY distance, row"""
        found = connection.execute(query, {"code": code, "count": count}, binary=True)
        return [
            hit_of(Facts(video, labels, path, seconds, code_to_hex(code_of(bits))), *place)
            for video, labels, path, seconds, bits, *place in found
        ]

    def _nearest_videos(self, connection: psycopg.Connection, code: str, count: int) -> list[Hit]:
        """The nearest row of each of the nearest videos."""
        wanted = count
        while True:
            rows = self._nearest(connection, code, wanted)
            best: dict[str, Hit] = {}
            for hit in rows:
                best.setdefault(hit.id, hit)
            if len(best) >= count or len(rows) < wanted:
                return list(best.values())[:count]
            wanted *= GROWTH

    def known(self, ids: Sequence[str]) -> dict[str, Known]:
        """What the index says of videos, those that it has: asks the server.

        Raises:
            Overtaken: another generation is in the place of this one.
        """

        def ask(connection: psycopg.Connection) -> dict[str, Known]:
            found = connection.execute(
                f"""SELECT id, array_to_string(labels, '|'), path, sha256
                FROM {table_of(self.pointer.generation)} LEFT JOIN ssvh.added USING (id)
                WHERE id = ANY(%s) AND start = 0""",
                (list(ids),),
            )
            return {video: Known(*rest) for video, *rest in found}

        return self._read(ask)

    def nearest(self, codes: np.ndarray, count: int, *, exact: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """The nearest rows of each code among the loaded ones: see `Snapshot.nearest`. It is exact,
        always.
        """
        return nearest(as_words(codes), self.words, count=count)

    @cached_property
    def words(self) -> np.ndarray:
        """The codes of all rows, [n, words] uint64."""
        return as_words(self.whole().codes)

    @property
    def spans(self) -> np.ndarray:
        """Seconds at which what each row is of starts and ends, [n, 2] float32."""
        return self.whole().spans

    @cached_property
    def films(self) -> FilmRows | None:
        """Which rows are segments of which video; None if each video has one row."""
        return None if self.videos == len(self) else FilmRows.of_videos(self.whole().ids, self.spans)

    def facts(self, rows: Sequence[int]) -> dict[int, Facts]:
        """What is known of some rows."""
        return self.whole().facts(rows)

    def duration(self, row: int) -> float:
        """Seconds of a video; 0 if unknown."""
        return float(self.whole().durations[row])

    def text(self, name: str, row: int) -> str:
        """One entry of `ids`, `labels` or `paths`."""
        texts: list[str] = getattr(self.whole(), name)
        return texts[row]

    def ids(self) -> list[str]:
        """The id of each row."""
        return list(self.whole().ids)

    def whole(self) -> CodedVideos:
        """All rows, in memory."""
        return self._loaded[0]

    def removed_ids(self) -> set[str]:
        """Videos that were taken out and not added again."""
        return self._loaded[1]

    @cached_property
    def _loaded(self) -> tuple[CodedVideos, set[str]]:
        def load(connection: psycopg.Connection) -> tuple[CodedVideos, set[str]]:
            now = State.read(connection, self._database.name)
            if (now.pointer, now.made) != (self.pointer, self.state.made):
                raise Overtaken(f"{self._database.name}: the index was changed while it was read")
            table = table_of(self.pointer.generation)
            videos = read_rows(connection, table, self.hasher, self.bits, self.source)
            removed = connection.execute("SELECT id FROM ssvh.removed").fetchall()
            return videos, {video for (video,) in removed}

        return self._read(load)

    def _read(self, work: Callable[[psycopg.Connection], Result]) -> Result:
        from psycopg import errors

        def checked(connection: psycopg.Connection) -> Result:
            try:
                return work(connection)
            except errors.UndefinedTable as error:
                raise Overtaken(f"{self._database.name}: the index was replaced while it was read") from error

        return self._database.read(checked)
