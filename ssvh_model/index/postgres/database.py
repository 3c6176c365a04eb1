"""A PostgreSQL database by its address: connections, and what goes wrong in one line without the password."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from ssvh_model.errors import UserError

if TYPE_CHECKING:
    import psycopg

SCHEMES = ("postgresql://", "postgres://")
ALLOWED = "postgresql://user@host:5432/database"
SECONDS_TO_CONNECT = 30
# A client that is gone, its machine with it, keeps its lock no longer than these together: seconds.
KEEPALIVES = {"tcp_keepalives_idle": 60, "tcp_keepalives_interval": 10, "tcp_keepalives_count": 3}
LOST = ("08", "57P")  # how codes begin of what a server says of a connection that it ends

Result = TypeVar("Result")


def is_address(place: str | os.PathLike[str]) -> bool:
    """True for the address of a database, False for a folder."""
    return "://" in str(place)


class Database:
    """A database. It connects when it is first asked.

    Args:
        url: as PostgreSQL's own programs take it; what it leaves out is in PGPASSWORD, ~/.pgpass and the
            like.

    Attributes:
        name: the address without its password, for people.

    Raises:
        UserError: it is no such address.
    """

    def __init__(self, url: str) -> None:
        self.name = name_of(url)
        self._url = url
        self._lock = threading.RLock()
        self._kept: psycopg.Connection | None = None

    def read(self, work: Callable[[psycopg.Connection], Result]) -> Result:
        """Do something in a transaction that sees one state of the database, and changes nothing.

        The connection stays open for the next time. If it was lost, `work` is done once more on a new one.

        Raises:
            UserError: the database is away, or refuses.
        """
        import psycopg

        with self._lock, self.explained():
            fresh = self._kept is None
            while True:
                connection = self._kept = self._kept or self._reading()
                try:
                    with connection.transaction():
                        return work(connection)
                except psycopg.OperationalError as error:
                    if not connection.closed and not (error.sqlstate or "").startswith(LOST):
                        raise
                    connection.close()
                    self._kept = None
                    if fresh:
                        raise
                    fresh = True

    def _reading(self) -> psycopg.Connection:
        import psycopg

        connection = self.connect()
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        return connection

    def connect(self) -> psycopg.Connection:
        """A new connection. Whatever it is asked to do must be done under `explained`.

        Raises:
            psycopg.Error: the database is away, or refuses.
        """
        import psycopg

        return psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=SECONDS_TO_CONNECT,
            application_name=f"ssvh, process {os.getpid()} on {socket.gethostname()}",
            client_encoding="utf8",
        )

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Make one clear line of what the database reports.

        Raises:
            UserError: it has reported something.
        """
        import psycopg
        from psycopg import errors

        try:
            yield
        except errors.UndefinedTable as error:
            raise UserError(f"{self.name}: there is no index; `ssvh index` makes one") from error
        except errors.InsufficientPrivilege as error:
            raise UserError(f"{self.name}: its user lacks a right, {_said(error)}") from error
        except (errors.UndefinedObject, errors.UndefinedFunction) as error:
            raise UserError(
                f"{self.name}: {_said(error)}; is pgvector there, and in the search path?"
            ) from error
        except errors.ProgramLimitExceeded as error:
            raise UserError(
                f"{self.name}: {_said(error)}; `ALTER ROLE ... SET maintenance_work_mem = ...` gives more, fewer index.cells need less"
            ) from error
        except errors.LockNotAvailable as error:
            raise UserError(
                f"{self.name}: somebody has been reading ssvh.videos in one transaction for minutes; the index stays as it was"
            ) from error
        except UnicodeEncodeError as error:
            raise UserError(
                f"{self.name}: {error.object!r} is no UTF-8, which is all that PostgreSQL keeps"
            ) from error
        except psycopg.OperationalError as error:
            what = _said(error) if error.sqlstate else f"can't be reached, {_said(error)}"
            raise UserError(f"{self.name}: {what}") from error
        except psycopg.Error as error:
            raise UserError(f"{self.name}: {_said(error)}") from error


def name_of(url: str) -> str:
    """The address of a database without its password.

    Raises:
        UserError: it is no such address, or psycopg is not installed.
    """
    try:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict
    except ImportError as error:
        raise UserError(
            "an index in PostgreSQL needs the package psycopg; `pip install 'psycopg[binary]'`"
        ) from error

    scheme = url.partition("://")[0]
    if not url.startswith(SCHEMES):
        raise UserError(f"{scheme}://... is no place of an index; allowed are a folder and {ALLOWED}")
    try:
        parts = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    except psycopg.Error:  # what it says may hold a part of the password
        parts = {"port": "?"}
    host, database = parts.get("host", ""), parts.get("dbname", "")
    # A password with a / or an @ that is not escaped would be taken for parts of these.
    if not re.fullmatch(r"[0-9,]*", parts.get("port", "")) or "@" in host + database:
        raise UserError(
            f"an address of an index that begins with {scheme}:// can't be read; allowed is {ALLOWED}, "
            "in which signs such as @, / and : of a password are written %40, %2F and %3A"
        )
    user = f"{parts['user']}@" if parts.get("user") else ""
    port = f":{parts['port']}" if parts.get("port") else ""
    return f"postgresql://{user}{host}{port}/{database}"


def _said(error: psycopg.Error) -> str:
    """What the server says; or the client, where no server has answered."""
    told = [error.diag.message_primary, error.diag.message_detail]
    return "; ".join(filter(None, told)) or " ".join(str(error).split()) or type(error).__name__
