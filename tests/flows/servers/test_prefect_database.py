"""A Prefect server whose database a killed one left half made."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.servers.server import prefect_server
from tasks.machine.services import answers
from tasks.records.databases import half_made_copies
from tests.killed import run_until

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(600)]

# The server's process, and what Prefect does itself when it starts, without anything of this project.
SERVER = "import sys; from flows.servers.prefect_process import main; sys.argv = ['x', '--host', '127.0.0.1', '--port', '0']; main()"
BY_PREFECT = (
    "import asyncio; from prefect.server.database import provide_database_interface; "
    "asyncio.run(provide_database_interface().create_db())"
)


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / ".prefect"))
    monkeypatch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    return tmp_path / ".prefect/prefect.db"


def server_starts(database: Path) -> None:
    with prefect_server() as api:
        assert answers(f"{api}/health")
    assert database.stat().st_size


def test_a_kill_while_prefect_s_database_is_made_leaves_none(database: Path) -> None:
    for moment in ("count == 1", "count == 60", "count == 600"):
        run_until(moment, SERVER, database.parents[1])
        assert not database.exists()
    server_starts(database)
    assert not half_made_copies(database)


def test_what_prefect_can_finish_it_finishes(database: Path) -> None:
    run_until("count == 60", BY_PREFECT, database.parents[1])
    server_starts(database)
    assert not half_made_copies(database)


def test_a_half_made_database_of_prefect_is_put_aside(
    database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A migration of 2022 adds a column, commits that, and fills the column before it is noted as done.
    run_until(
        "'UPDATE task_run' in statement and 'SET state_timestamp' in statement",
        BY_PREFECT,
        database.parents[1],
    )
    server_starts(database)
    (copy,) = half_made_copies(database)
    assert copy.name in capsys.readouterr().out
