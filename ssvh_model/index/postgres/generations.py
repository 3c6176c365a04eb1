"""The schema of an index in PostgreSQL, and the change from one generation of rows to the next."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from ssvh_model.errors import UserError
from ssvh_model.index.postgres.tables import SCHEMA

if TYPE_CHECKING:
    import psycopg

SECONDS_FOR_READERS = 2  # to be done with a table or view that is to go
WAITS_FOR_READERS, SECONDS_BETWEEN_WAITS = 60, 5


def make_schema(connection: psycopg.Connection, name: str) -> None:
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


def drop_leftovers(connection: psycopg.Connection) -> None:
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


def switch_view(connection: psycopg.Connection, table: str, *, anew: bool) -> None:
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
