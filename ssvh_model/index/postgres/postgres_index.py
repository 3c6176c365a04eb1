"""An index in PostgreSQL that can be changed. Whoever reads it meanwhile sees it as it was before, or as it
is after.
"""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ssvh_model.errors import UserError
from ssvh_model.hdf5 import open_hdf5, read_texts
from ssvh_model.index.coded_videos import CodedVideos
from ssvh_model.index.index_folder import KeepFeatures
from ssvh_model.index.known import Known
from ssvh_model.index.postgres.database import KEEPALIVES, Database
from ssvh_model.index.postgres.snapshot import PostgresSnapshot, State, check_format
from ssvh_model.index.postgres.tables import (
    FORMAT,
    SCHEMA,
    finish_videos_table,
    make_videos_table,
    parts_of,
    table_of,
    write_rows,
)
from ssvh_model.index.settings import IndexSettings
from ssvh_model.index.snapshot import CARD, TRIES, Overtaken
from ssvh_model.model.hasher_file import hasher_files
from ssvh_model.scratch import scratch_folder

if TYPE_CHECKING:
    import psycopg

LOCK = 0x53535648  # of PostgreSQL's advisory locks: "SSVH"
SECONDS_FOR_READERS = 2  # to be done with a table or view that is to go
WAITS_FOR_READERS, SECONDS_BETWEEN_WAITS = 60, 5
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
        self._copies: tempfile.TemporaryDirectory[str] | None = None
        self._copying = threading.Lock()

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
        return self._of_one_version(lambda snapshot: work(snapshot, self._hasher(snapshot)))

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
        return self._copy(
            "features",
            "SELECT lpad(file::text, 6, '0') || '.h5', content FROM ssvh.feature_files ORDER BY file, part",
        )

    def _hasher(self, snapshot: PostgresSnapshot) -> Path:
        """A folder with the hasher that made the codes of a snapshot.

        Raises:
            Overtaken: another one has taken its place.
        """
        digest = snapshot.hasher.sha256
        folder = self._copies_in(digest)
        with self._copying:  # another thread is not to find half of it
            if not list(folder.iterdir()) and not self._copy(
                digest,
                "SELECT name, content FROM ssvh.hasher_files WHERE sha256 = %s ORDER BY name, part",
                digest,
            ):
                raise Overtaken(f"{self.name}: the hasher was replaced while it was read")
            if snapshot.state.card:
                (folder / CARD).write_text(snapshot.state.card, encoding="utf-8")
        return folder

    def _copies_in(self, name: str) -> Path:
        """A folder of copies, which ends with this object."""
        if self._copies is None:
            self._copies = tempfile.TemporaryDirectory(prefix="index-", dir=scratch_folder())
        folder = Path(self._copies.name) / name
        folder.mkdir(exist_ok=True)
        return folder

    def _copy(self, folder: str, query: str, *which: object) -> list[Path]:
        """Copy files out of one state of the database.

        Args:
            folder: of the copies.
            query: for their names and parts, in order.
            which: parameters of the query.
        """
        target = self._copies_in(folder)

        def copy(connection: psycopg.Connection) -> list[str]:
            names: list[str] = []
            with connection.cursor("parts", binary=True) as cursor:
                cursor.itersize = 1  # a part may be large
                cursor.execute(query, which)
                for name, content in cursor:
                    # It comes from a database, so that it must not lead out of the folder.
                    if not re.fullmatch(r"\w[\w.-]*", name):
                        raise UserError(f"{self.name}: {name!r} is no name of a hasher's file")
                    with open(Path(temporary) / name, "wb" if name not in names else "ab") as file:
                        file.write(content)
                    names += [name] if name not in names else []
            return names

        with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
            names = self._database.read(copy)
            # A file that somebody still reads may have the same name.
            return [Path(temporary, name).replace(target / name) for name in names]

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
                _drop_leftovers(connection)
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
            _make_schema(connection, self.name)
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
            _keep_hasher(connection, hasher, videos.hasher.sha256)
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
            _switch_view(connection, table, anew=before is not None and before[2] != videos.bits)
        with self._change() as connection:
            _drop_leftovers(connection)

    def keep(self, write: KeepFeatures) -> None:
        """Keep feature files of videos: see `IndexFolder.keep`."""
        with self._change() as connection:
            _keep_features(connection, write)

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
                raise UserError(
                    f"{self.name}: has a video {known[0]!r} already; `ssvh remove {known[0]}` takes it out"
                )
            write_rows(connection, table, videos)
            connection.execute("DELETE FROM ssvh.removed WHERE id = ANY(%s)", (ids,))
            if keep is not None:
                _keep_features(connection, keep)
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


def _drop_leftovers(connection: psycopg.Connection) -> None:
    """Drop the tables of generations that count no more. One that somebody still needs stays until a later
    change.
    """
    from psycopg import errors

    if connection.execute("SELECT to_regclass('ssvh.index')").fetchone() == (None,):
        return
    found = connection.execute(
        r"""SELECT tablename FROM pg_tables WHERE schemaname = 'ssvh' AND tablename ~ '^videos_[0-9]+$'
        AND tablename NOT IN (SELECT 'videos_' || lpad(generation::text, 6, '0') FROM ssvh.index)"""
    )
    needed = (errors.LockNotAvailable, errors.DependentObjectsStillExist)
    for (table,) in found.fetchall():
        with contextlib.suppress(*needed), connection.transaction():
            connection.execute(f"SET LOCAL lock_timeout = '{SECONDS_FOR_READERS}s'")
            connection.execute(f"DROP TABLE ssvh.{table}")


def _switch_view(connection: psycopg.Connection, table: str, *, anew: bool) -> None:
    """Let `ssvh.videos` show another table.

    Who reads the view in a long transaction is waited for, a little at a time: while this waits, nobody else
    can begin to.

    Args:
        connection: in the transaction of the switch.
        table: to show.
        anew: drop the view first, as another type of the codes needs it.

    Raises:
        UserError: somebody goes on reading.
    """
    from psycopg import errors

    for last in (*[False] * WAITS_FOR_READERS, True):
        try:
            with connection.transaction():
                connection.execute(f"SET LOCAL lock_timeout = '{SECONDS_FOR_READERS}s'")
                if anew:
                    connection.execute("DROP VIEW ssvh.videos")
                connection.execute(f"CREATE OR REPLACE VIEW ssvh.videos AS SELECT * FROM {table}")
            return
        except errors.LockNotAvailable:
            if last:
                raise
            time.sleep(SECONDS_BETWEEN_WAITS)


def _make_schema(connection: psycopg.Connection, name: str) -> None:
    """Make what is not there yet.

    Raises:
        UserError: the user may not, or there is no pgvector.
    """
    from psycopg import errors

    try:
        if connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'vector'").fetchone() is None:
            connection.execute("CREATE EXTENSION vector")
    except (errors.FeatureNotSupported, errors.UndefinedFile) as error:
        raise UserError(f"{name}: pgvector is not installed on the server") from error
    except errors.InsufficientPrivilege as error:
        raise UserError(
            f"{name}: pgvector is not in this database, and its user may not put it there; an administrator's "
            "`CREATE EXTENSION vector` does"
        ) from error
    connection.execute(SCHEMA)


def _keep_hasher(connection: psycopg.Connection, hasher: Path, sha256: str) -> None:
    connection.execute("DELETE FROM ssvh.hasher_files")
    for file in hasher_files(hasher):
        for part, content in parts_of(file):
            connection.execute(
                "INSERT INTO ssvh.hasher_files VALUES (%s, %s, %s, %s)", (sha256, file.name, part, content)
            )


def _keep_features(connection: psycopg.Connection, write: KeepFeatures) -> None:
    row = connection.execute("SELECT coalesce(max(file), 0) FROM ssvh.feature_files").fetchone()
    assert row is not None
    (before,) = row
    with tempfile.TemporaryDirectory() as temporary:
        written: list[Path] = []

        def next_path() -> Path:
            written.append(Path(temporary) / f"{len(written) + 1:06d}.h5")
            return written[-1]

        write(next_path)
        for number, path in enumerate(written, start=before + 1):
            for part, content in parts_of(path):
                connection.execute(
                    "INSERT INTO ssvh.feature_files VALUES (%s, %s, %s)", (number, part, content)
                )
            with open_hdf5(path, "feature file") as file:
                kept = zip(read_texts(file, "ids"), read_texts(file, "sha256"), strict=True)
                connection.cursor().executemany(
                    "INSERT INTO ssvh.added VALUES (%s, %s, %s) "
                    "ON CONFLICT (id) DO UPDATE SET sha256 = excluded.sha256, file = excluded.file",
                    [(video, digest, number) for video, digest in kept],
                )
