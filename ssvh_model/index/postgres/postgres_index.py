"""An index in PostgreSQL that can be changed. Whoever reads it meanwhile sees it as it was before, or as it
is after.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ssvh_model.errors import UserError
from ssvh_model.index.coded_videos import CodedVideos
from ssvh_model.index.index_folder import KeepFeatures
from ssvh_model.index.known import Known, id_taken
from ssvh_model.index.postgres.database import KEEPALIVES, Database
from ssvh_model.index.postgres.files import FileCopies, keep_feature_files, keep_hasher
from ssvh_model.index.postgres.generations import drop_leftovers, make_schema, switch_view
from ssvh_model.index.postgres.snapshot import PostgresSnapshot, State, check_format
from ssvh_model.index.postgres.tables import (
    FORMAT,
    finish_videos_table,
    make_videos_table,
    table_of,
    write_rows,
)
from ssvh_model.index.settings import IndexSettings
from ssvh_model.index.snapshot import TRIES, Overtaken

if TYPE_CHECKING:
    import psycopg

LOCK = 0x53535648  # of PostgreSQL's advisory locks: "SSVH"
MOST_CELLS = 32768  # that pgvector takes
MOST_BITS = 64_000  # that pgvector's indexes take

Loaded = TypeVar("Loaded")


class PostgresIndex:
    """An index in a PostgreSQL database with pgvector. Each change is one transaction.

    Args:
        url: of the database, which has one index: `database.ALLOWED`.

    Attributes:
        name: the address without its password, for people.

    Raises:
        UserError: the address can't be read.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url)
        self.name = self._database.name
        self._changing: psycopg.Connection | None = None
        self._copies = FileCopies(self._database)

    def exists(self) -> bool:
        """True if there is an index to change."""

        def ask(connection: psycopg.Connection) -> bool:
            table = connection.execute("SELECT to_regclass('ssvh.index')").fetchone()
            return table != (None,) and connection.execute("SELECT 1 FROM ssvh.index").fetchone() is not None

        return self._database.read(ask)

    def version(self) -> object:
        """What counts now; equal to an earlier one only if nothing has changed since.

        Raises:
            UserError: there is no index, or the database is away.
        """
        state = self._state()
        return state.pointer, state.made

    def snapshot(self, *, loaded: bool = False) -> PostgresSnapshot:
        """The index as it stands now.

        Args:
            loaded: with all rows in memory, so that it goes on working when the index is changed.

        Raises:
            UserError: there is no index, or the database is away.
        """

        def ready(snapshot: PostgresSnapshot) -> PostgresSnapshot:
            if loaded:
                snapshot.whole()
            return snapshot

        return self._of_one_version(ready)

    def settings(self) -> IndexSettings:
        """How the present generation searches. For whoever holds the lock: it may be gone the next moment
        otherwise.
        """
        return self._state().settings

    def _state(self) -> State:
        return self._database.read(lambda connection: State.read(connection, self.name))

    def load(self, work: Callable[[PostgresSnapshot, Path], Loaded]) -> Loaded:
        """Do something with one version of the index.

        Args:
            work: takes the snapshot, and a folder with the hasher that made its codes. It is called again if
                the index is changed meanwhile.

        Raises:
            UserError: there is no index, or the database is away.
        """

        def with_hasher(snapshot: PostgresSnapshot) -> Loaded:
            return work(snapshot, self._copies.hasher(snapshot.hasher.sha256, snapshot.state.card))

        return self._of_one_version(with_hasher)

    def _of_one_version(self, work: Callable[[PostgresSnapshot], Loaded]) -> Loaded:
        for _ in range(TRIES):
            try:
                return work(PostgresSnapshot(self._database, self._state()))
            except Overtaken:
                continue
        raise UserError(f"{self.name}: the index changes faster than it can be read")

    def known(self, ids: Sequence[str]) -> dict[str, Known]:
        """What the index says of videos, those that it has."""
        return self._of_one_version(lambda snapshot: snapshot.known(ids))

    def kept_features(self) -> list[Path]:
        """Copies of the feature files of videos that were added, the oldest first."""
        return self._copies.features()

    @contextlib.contextmanager
    def alone(self, say: Callable[[str], None] = lambda line: None) -> Iterator[None]:
        """Hold the index's lock; the server frees it when the connection ends, however the process ends.

        Args:
            say: takes a line if another process holds the lock, which is then waited for.
        """
        with contextlib.ExitStack() as stack:
            with self._database.explained():
                connection = stack.enter_context(contextlib.closing(self._database.connect()))
                for name, value in KEEPALIVES.items():
                    connection.execute("SELECT set_config(%s, %s, false)", (name, str(value)))
                if connection.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,)).fetchone() != (True,):
                    say(
                        f"{self.name}: {self._holder(connection)} is changing this index; waiting until it is done"
                    )
                    connection.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
                drop_leftovers(connection)
            self._changing = connection
            try:
                yield
            finally:
                self._changing = None

    def _holder(self, connection: psycopg.Connection) -> str:
        found = connection.execute(
            """SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid)
            WHERE locktype = 'advisory' AND classid = 0 AND objid = %s AND granted
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())""",
            (LOCK,),
        ).fetchone()
        return found[0] if found and found[0] else "another process"

    @contextlib.contextmanager
    def _change(self) -> Iterator[psycopg.Connection]:
        """A transaction of whoever holds the lock."""
        if self._changing is None:
            with self.alone(), self._change() as connection:
                yield connection
            return
        # On the connection that holds the lock: where it is lost, nothing is changed without it.
        with self._database.explained(), self._changing.transaction():
            yield self._changing

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
            videos, hasher, settings, removed, card, keep_features: as for `IndexFolder.replace`.
            seed: not used; pgvector finds cells by itself.

        Raises:
            UserError: the database is away, refuses, or has no pgvector.
        """
        search = "exact"
        if len(videos) > settings.exact_up_to and (
            settings.approximate == "hnsw" or len(videos) >= settings.cells
        ):
            search = settings.approximate
            if videos.bits > MOST_BITS:
                raise UserError(
                    f"codes have {videos.bits} bits; pgvector searches up to {MOST_BITS} approximately"
                )
            if search == "cells" and settings.cells > MOST_CELLS:
                raise UserError(f"index.cells is {settings.cells}; pgvector has up to {MOST_CELLS}")
        with self._change() as connection:
            make_schema(connection, self.name)
            before = connection.execute("SELECT format, generation, bits FROM ssvh.index").fetchone()
            if before:
                check_format(before[0], self.name)
            generation = before[1] + 1 if before else 1
            table = table_of(generation)
            make_videos_table(connection, table, videos.bits)
            write_rows(connection, table, videos)
            finish_videos_table(connection, table)
            if search == "cells":
                connection.execute(
                    f"CREATE INDEX ON {table} USING ivfflat (code bit_hamming_ops) WITH (lists = {settings.cells})"
                )
            elif search == "hnsw":
                connection.execute(f"CREATE INDEX ON {table} USING hnsw (code bit_hamming_ops)")
            keep_hasher(connection, hasher, videos.hasher.sha256)
            connection.execute("DELETE FROM ssvh.removed")
            connection.execute(
                "INSERT INTO ssvh.removed SELECT unnest(%s::text[])", (sorted({*removed} - {*videos.ids}),)
            )
            if not keep_features:
                connection.execute("DELETE FROM ssvh.added")
                connection.execute("DELETE FROM ssvh.feature_files")
            connection.execute("DELETE FROM ssvh.index")
            connection.execute(
                """INSERT INTO ssvh.index (format, generation, changes, videos, rows, bits, hasher_model, hasher_version,
                hasher_sha256, card, source, search, settings) VALUES (%s, %s, 0, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)""",
                (
                    *(FORMAT, generation, videos.videos, len(videos), videos.bits),
                    *(videos.hasher.model, videos.hasher.version, videos.hasher.sha256),
                    *(card, videos.source, search, json.dumps(vars(settings))),
                ),
            )
            switch_view(connection, table, anew=before is not None and before[2] != videos.bits)
        with self._change() as connection:
            drop_leftovers(connection)

    def keep(self, write: KeepFeatures) -> None:
        """Keep feature files of videos: see `IndexFolder.keep`."""
        with self._change() as connection:
            keep_feature_files(connection, write)

    def add(self, videos: CodedVideos, keep: KeepFeatures | None = None) -> None:
        """Add videos, all rows of each.

        Args:
            videos, keep: as for `IndexFolder.add`.

        Raises:
            UserError: there is no index, it has a video of the same id, or its codes are by another hasher.
        """
        with self._change() as connection:
            state = State.read(connection, self.name)
            if videos.hasher.sha256 != state.hasher.sha256:
                raise UserError(
                    f"{self.name}: its codes are by {state.hasher.name}, the new ones by {videos.hasher.name}; "
                    "codes of different hashers can't be compared"
                )
            if videos.bits != state.bits:
                raise UserError(f"{self.name}: its codes have {state.bits} bits, the new ones {videos.bits}")
            table = table_of(state.pointer.generation)
            ids = list(dict.fromkeys(videos.ids))
            known = connection.execute(
                f"SELECT id FROM {table} WHERE id = ANY(%s) ORDER BY row LIMIT 1", (ids,)
            ).fetchone()
            if known is not None:
                raise id_taken(self.name, known[0])
            write_rows(connection, table, videos)
            connection.execute("DELETE FROM ssvh.removed WHERE id = ANY(%s)", (ids,))
            if keep is not None:
                keep_feature_files(connection, keep)
            self._count(connection, videos.videos, len(videos))

    def remove(self, ids: Sequence[str]) -> list[str]:
        """Take videos out: see `IndexFolder.remove`.

        Returns:
            Ids that were taken out now.

        Raises:
            UserError: there is no index, or it never had such a video.
        """
        with self._change() as connection:
            table = table_of(State.read(connection, self.name).pointer.generation)
            found = connection.execute(f"DELETE FROM {table} WHERE id = ANY(%s) RETURNING id", (list(ids),))
            rows = [video for (video,) in found]
            gone = set(rows)
            known = connection.execute("SELECT id FROM ssvh.removed WHERE id = ANY(%s)", (list(ids),))
            if missing := sorted({*ids} - gone - {video for (video,) in known}):
                raise UserError(
                    f"{self.name}: has no video {missing[0]!r}; `ssvh search` and codes files show ids"
                )
            if gone:
                connection.execute("INSERT INTO ssvh.removed SELECT unnest(%s::text[])", (sorted(gone),))
                connection.execute("DELETE FROM ssvh.added WHERE id = ANY(%s)", (list(gone),))
                connection.execute(
                    "DELETE FROM ssvh.feature_files WHERE file NOT IN (SELECT file FROM ssvh.added)"
                )
                self._count(connection, -len(gone), -len(rows))
        return [video for video in dict.fromkeys(ids) if video in gone]

    def _count(self, connection: psycopg.Connection, videos: int, rows: int) -> None:
        connection.execute(
            "UPDATE ssvh.index SET changes = changes + 1, videos = videos + %s, rows = rows + %s",
            (videos, rows),
        )
