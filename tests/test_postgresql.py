"""The throw-away PostgreSQL server of the tests: databases of one's own, and a restart that keeps them."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy import create_engine, text

from tests.postgresql import PostgreSQL


def test_what_was_written_is_there_after_a_restart(postgresql: PostgreSQL) -> None:
    engine = create_engine(postgresql.create("restart"))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE one (x int); INSERT INTO one VALUES (3)"))
    port = postgresql.port
    postgresql.stop()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(f"host=127.0.0.1 port={port} user=postgres dbname=restart", connect_timeout=5)
    postgresql.start()
    engine.dispose()
    with engine.begin() as connection:
        assert connection.execute(text("SELECT x FROM one")).scalar() == 3
    engine.dispose()


def test_tests_share_a_server_and_no_database(running_postgresql: PostgreSQL) -> None:
    for _ in range(2):
        open_one = create_engine(running_postgresql.create("shared")).connect()
        running_postgresql.clear()
        open_one.invalidate()


def test_a_database_with_codes_can_be_had(vector_database: str) -> None:
    with psycopg.connect(vector_database) as connection:
        connection.execute("CREATE EXTENSION vector")
        assert connection.execute("SELECT b'10110' <~> b'00111'").fetchone() == (2.0,)
