"""What goes wrong between an index and its PostgreSQL server: one clear line each, without the password."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psycopg
import pytest

from ssvh_model.errors import UserError
from ssvh_model.index.coded_videos import CodedVideos
from ssvh_model.index.index import open_index
from ssvh_model.index.index_folder import IndexFolder
from ssvh_model.index.postgres.postgres_index import PostgresIndex
from ssvh_model.index.searcher import Searcher
from ssvh_model.index.settings import IndexSettings
from ssvh_model.retrieval.hamming import hamming_distances
from tests.conftest import REPOSITORY
from tests.hashers import write_hasher

Coded = Callable[..., CodedVideos]
EXACT = IndexSettings(exact_up_to=10**6, cells=8, probes=4)
SECRET = "s3cret"
PAGE = (REPOSITORY / "docs/how-to/postgresql.md").read_text()
STATEMENTS = re.findall(r"^```sql\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def index(vector_database: str, coded: Coded, hasher: Path) -> PostgresIndex:
    made = PostgresIndex(vector_database)
    made.replace(coded(6), hasher, EXACT, seed=1)
    return made


@contextlib.contextmanager
def user(url: str, name: str, *rights: str) -> Iterator[str]:
    """The address of a database for a new user without further rights than those that are given."""
    address = urlsplit(url)
    with psycopg.connect(url, autocommit=True) as connection:
        role = f"{name}_{address.path[1:]}"
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{SECRET}'")
        for right in rights:
            connection.execute(right.format(role=role))
        yield address._replace(netloc=f"{role}:{SECRET}@{address.hostname}:{address.port}").geturl()
        connection.execute(f"DROP OWNED BY {role}")
        connection.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (f"mysql://me:{SECRET}@host/db", "allowed are a folder and postgresql://user@host:5432/database"),
        (f"postgresql+psycopg://me:{SECRET}@host/db", "allowed are a folder and postgresql://"),
        (f"postgresql://me:{SECRET}@host:x{SECRET}/db", "can't be read; allowed is postgresql://"),
        (f"postgresql://me:p/{SECRET}@host/db", "written %40, %2F and %3A"),
        (f"postgresql://me:12/{SECRET}@host/db", "written %40, %2F and %3A"),
        (f"postgresql://me:p@{SECRET}@host/db", "written %40, %2F and %3A"),
        (f"postgresql://me:p:{SECRET}/db", "can't be read"),
        (f"postgresql://host/db?passwort={SECRET}", "can't be read"),
    ],
)
def test_an_address_that_is_none_is_refused_at_once(url: str, says: str) -> None:
    with pytest.raises(UserError) as raised:
        open_index(url)
    assert says in str(raised.value) and SECRET not in str(raised.value)


def test_nothing_is_opened_before_it_is_asked_for() -> None:
    index = open_index(f"postgresql://me:{SECRET}@nowhere.invalid/db?connect_timeout=2")
    assert index.name == "postgresql://me@nowhere.invalid/db"
    for ask in (index.snapshot, index.exists, index.version, lambda: index.remove(["one"])):
        with pytest.raises(
            UserError, match=r"^postgresql://me@nowhere.invalid/db: can't be reached, "
        ) as raised:
            ask()
        assert SECRET not in str(raised.value)


def test_a_server_that_is_away_is_named() -> None:
    with socket.socket() as taken:  # bound, but it does not listen
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(
            UserError, match=rf"^postgresql://me@127.0.0.1:{port}/db: can't be reached, .*refused"
        ) as raised:
            Searcher(f"postgresql://me:{SECRET}@127.0.0.1:{port}/db")
    assert SECRET not in str(raised.value)


def test_a_database_or_an_index_that_is_not_there_is_named(vector_database: str, coded: Coded) -> None:
    index = PostgresIndex(vector_database)
    assert not index.exists()
    for ask in (index.snapshot, index.settings, lambda: index.add(coded(1)), lambda: index.known(["a"])):
        with pytest.raises(UserError, match=r"there is no index; `ssvh index` makes one$"):
            ask()
    with pytest.raises(UserError, match='database "none_of_these" does not exist'):
        PostgresIndex(urlsplit(vector_database)._replace(path="/none_of_these").geturl()).snapshot()


def test_tables_of_another_version_are_left_alone(
    index: PostgresIndex, vector_database: str, coded: Coded, hasher: Path
) -> None:
    with psycopg.connect(vector_database) as connection:
        connection.execute("UPDATE ssvh.index SET format = 99")
    for ask in (
        index.snapshot,
        lambda: index.add(coded(1, prefix="new")),
        lambda: index.replace(coded(1), hasher, EXACT, seed=1),
    ):
        with pytest.raises(UserError, match=r"its tables are of format 99; this version reads 1"):
            ask()


def test_missing_rights_are_named(vector_database: str, coded: Coded, hasher: Path) -> None:
    with user(vector_database, "stranger") as stranger:
        with pytest.raises(UserError, match=r"`CREATE EXTENSION vector` does$") as raised:
            PostgresIndex(stranger).replace(coded(1), hasher, EXACT, seed=1)
        assert SECRET not in str(raised.value)
        PostgresIndex(vector_database).replace(coded(6), hasher, EXACT, seed=1)
        with pytest.raises(UserError, match=r"its user lacks a right, permission denied for schema ssvh"):
            PostgresIndex(stranger).snapshot()
        with pytest.raises(UserError, match=r"its user lacks a right, permission denied for"):
            PostgresIndex(stranger).replace(coded(1), hasher, EXACT, seed=1)


def test_who_may_only_read_searches_every_generation_and_changes_none(
    index: PostgresIndex, vector_database: str, coded: Coded, hasher: Path, other_hasher: Path
) -> None:
    """With the rights that docs/how-to/postgresql.md gives."""
    _, rights_of_page = STATEMENTS
    rights = re.sub(r"\breader\b", "{role}", rights_of_page).strip().splitlines()
    assert len(rights) == 3
    with user(vector_database, "reader", *rights) as reader:
        searcher = Searcher(reader)
        assert len(searcher) == 6
        index.replace(coded(7, by=other_hasher), other_hasher, EXACT, seed=1)
        assert [hit.id for hit in searcher.nearest_to_codes(coded(7).codes[[3]], 1)[0]] == ["video-3"]
        assert len(searcher) == 7
        with pytest.raises(UserError, match=r"its user lacks a right, permission denied for table"):
            PostgresIndex(reader).add(coded(1, by=other_hasher, prefix="new"))
    assert index.snapshot().videos == 7


def test_the_query_of_the_page_finds_what_it_says(vector_database: str, coded: Coded, hasher: Path) -> None:
    videos = coded(200)
    videos = replace(
        videos,
        ids=["night", *videos.ids[1:]],
        labels=[label.replace("label 1", "cats") for label in videos.labels],
    )
    PostgresIndex(vector_database).replace(videos, hasher, EXACT, seed=1)
    with psycopg.connect(vector_database) as connection:
        found = connection.execute(STATEMENTS[0]).fetchall()
    distances = hamming_distances(videos.codes[:1], videos.codes)[0]
    wanted = [row for row in range(60) if videos.labels[row] == "cats"]
    assert len(found) == 10 and {one[0] for one in found} <= {videos.ids[row] for row in wanted}
    assert [one[3] for one in found] == sorted(distances[wanted])[:10]


def test_codes_that_do_not_fit_are_refused(
    index: PostgresIndex, vector_database: str, tmp_path: Path, coded: Coded, other_hasher: Path
) -> None:
    with pytest.raises(UserError, match=r"codes of different hashers can't be compared"):
        index.add(coded(1, by=other_hasher, prefix="new"))
    with pytest.raises(UserError, match=r"its codes have 16 bits, the new ones 24"):
        index.add(coded(1, bits=24, prefix="new"))
    with pytest.raises(ValueError, match=r"codes of 3 bytes; the index has 2"):
        index.snapshot().hits(np.zeros((1, 3), dtype=np.uint8), 1, "video")
    wide = write_hasher(tmp_path / "wide", bits=24)
    with psycopg.connect(vector_database) as connection:
        connection.execute("CREATE VIEW mine AS SELECT id FROM ssvh.videos")
    with pytest.raises(
        UserError, match=r"cannot drop view ssvh.videos because other objects depend on it; view mine"
    ):
        index.replace(coded(2, by=wide, bits=24), wide, EXACT, seed=1)
    assert index.snapshot().videos == 6


def test_texts_that_postgresql_can_not_keep_are_named(index: PostgresIndex, coded: Coded) -> None:
    for text, says in (("a\0b", "NUL"), ("a\udcffb", "is no UTF-8")):
        with pytest.raises(UserError, match=says):
            index.add(replace(coded(1), ids=[text]))
    assert index.snapshot().videos == 6


def test_what_only_postgresql_can_do_is_refused_for_a_folder(
    tmp_path: Path, coded: Coded, hasher: Path
) -> None:
    with pytest.raises(UserError, match=r"index.approximate is 'hnsw', which an index in a folder can't do"):
        IndexFolder(tmp_path / "index").replace(coded(9), hasher, IndexSettings(8, 4, 2, "hnsw"), seed=1)


def test_limits_of_pgvector_are_named(vector_database: str, coded: Coded, hasher: Path) -> None:
    videos = coded(40_000)
    with pytest.raises(UserError, match=r"index.cells is 33000; pgvector has up to 32768"):
        PostgresIndex(vector_database).replace(videos, hasher, IndexSettings(1, 33_000, 2), seed=1)
    small = f"{vector_database}?options=-cmaintenance_work_mem%3D1MB"
    with pytest.raises(UserError, match=r"memory required is .*maintenance_work_mem = \.\.\.` gives more"):
        PostgresIndex(small).replace(videos, hasher, IndexSettings(1, 300, 2), seed=1)
    assert not PostgresIndex(vector_database).exists()


def test_a_file_name_in_the_database_leads_nowhere(
    index: PostgresIndex, vector_database: str, tmp_path: Path
) -> None:
    for name in ("../hasher.json", "..", str(tmp_path / "elsewhere"), ""):
        with psycopg.connect(vector_database) as connection:
            connection.execute(
                "INSERT INTO ssvh.hasher_files SELECT hasher_sha256, %s, 0, '' FROM ssvh.index", (name,)
            )
        with pytest.raises(UserError, match="is no name of a hasher's file"):
            Searcher(vector_database)
        with psycopg.connect(vector_database) as connection:
            connection.execute("DELETE FROM ssvh.hasher_files WHERE name = %s", (name,))
    assert len(Searcher(vector_database)) == 6 and list(tmp_path.iterdir()) == []
