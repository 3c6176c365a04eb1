"""The process of a Prefect server: `prefect server start`, with a database that is whole before the server
opens it.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tasks.records.databases import make_database, sqlite_file


def main() -> None:
    """Make the database if there is none yet, then do what `prefect server start` does with the same
    options.
    """
    from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL

    address = str(PREFECT_API_DATABASE_CONNECTION_URL.value())
    if (path := sqlite_file(address)) is not None:
        # Without any record it may also be whole, and the server was never up.
        make_database("Prefect", path, _migrate, _say, finish=_migrate)
    from prefect.cli import app

    sys.argv = ["prefect", "server", "start", *sys.argv[1:]]
    app()


def _migrate(path: Path) -> None:
    """Bring a database, also one that is not there yet, to the state that this version of Prefect needs."""
    from prefect.server.database import provide_database_interface
    from prefect.server.database.configurations import AioSqliteConfiguration
    from prefect.server.database.dependencies import temporary_database_config

    async def migrate() -> None:
        database = provide_database_interface()
        try:
            await database.create_db()
        finally:
            await (await database.engine()).dispose()

    with temporary_database_config(AioSqliteConfiguration(connection_url=f"sqlite+aiosqlite:///{path}")):
        asyncio.run(migrate())


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
