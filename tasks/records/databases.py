"""The embedded SQLite databases: made whole or not at all.

MLflow and Prefect make their tables in hundreds of steps, each of which stays. A process that is killed in
between leaves a file that neither accepts any more. Here they make them under another name, and the file gets
its own when it is whole.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path

from ssvh_model.errors import UserError
from ssvh_model.locks import hold_lock
from tasks import paths

SECONDS_FOR_OTHERS = 300.0  # that another program may take to make its tables
SECONDS_BETWEEN_LOOKS = 0.5
BOOKKEEPING = "alembic_version"  # of the migrations that make the tables
BESIDE = ("-journal", "-wal", "-shm")  # what SQLite adds to a file's name

Make = Callable[[Path], None]


def sqlite_file(address: str) -> Path | None:
    """The file of an SQLite address such as `sqlite:///mlflow.db`; None for other databases and for those in
    memory.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(address)
    except ArgumentError:
        return None
    if url.get_backend_name() != "sqlite" or not url.database or url.database.startswith((":", "file:")):
        return None
    return Path(url.database)


def make_mlflow_database(address: str, say: Callable[[str], None]) -> None:
    """Make MLflow's tables where `address` is an SQLite file that is not there yet, or half made.

    Args:
        address: of the tracking store; nothing is done for another kind.
        say: takes a line where a half-made database was put aside.

    Raises:
        UserError: another program does not get done with making them.
        OSError: the folder can't be written.
    """
    if address.startswith("sqlite") and (path := sqlite_file(address)) is not None:
        # What MLflow has made to its end holds its default experiment.
        make_database("MLflow", path, _make_mlflow, say, seeded=["workspaces"])


def _make_mlflow(path: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    # It tells of "Creating initial database tables".
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    SqlAlchemyStore(f"sqlite:///{path}", paths.MLFLOW_ARTIFACTS.resolve().as_uri()).engine.dispose()


def make_database(
    tool: str,
    path: Path,
    make: Make,
    say: Callable[[str], None],
    *,
    seeded: Sequence[str] = (),
    finish: Make | None = None,
) -> None:
    """Make a tool's database unless there is one with records. Of several processes, one makes it and the
    others wait.

    Args:
        tool: whose it is.
        path: of its file.
        make: makes the tables in a file of the name that it is given.
        say: takes a line where a half-made database was put aside.
        seeded: tables that get rows while they are made, which are no records.
        finish: brings a file that holds no records to its end, or raises; None: such a file is half made in
            any case.

    Raises:
        UserError: another program does not get done with making it.
        OSError: the folder can't be written.
    """
    holds_records = partial(_holds_records, path, {BOOKKEEPING, *seeded})
    if holds_records():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with _turn(path):
        for left in path.parent.glob(f"{path.name}.new-*"):  # its process is gone: the turn is ours
            shutil.rmtree(left, ignore_errors=True)
        if finish is None:
            if _await_others(tool, path, holds_records, say):
                return
        elif _having_open(path) or _finished(path, finish):
            return
        if path.exists() and path.stat().st_size:
            aside = _put_aside(path)
            say(
                f"{tool}'s database {path} was left half made, without any record, by a process that was killed; "
                f"it is kept as {aside.name}, and a new one is made"
            )
        with tempfile.TemporaryDirectory(
            prefix=f"{path.name}.new-", dir=path.parent, ignore_cleanup_errors=True
        ) as folder:
            new = Path(folder) / path.name
            make(new)
            _settle(new)
            if still := _beside(new):
                raise RuntimeError(f"{new} is still in use: {still[0].name} is there")
            with open(new, "rb") as written:
                os.fsync(written.fileno())
            for journal in _beside(path):
                # of a file that is gone or empty; SQLite would take it for one of the new file
                journal.unlink()
            os.replace(new, path)


def half_made_copies(path: Path) -> set[Path]:
    """What was put aside so far."""
    return {one for one in path.parent.glob(f"{path.name}.half-made-*") if not one.name.endswith(BESIDE)}


def _holds_records(path: Path, others: Collection[str]) -> bool:
    """Whether any table but certain others has a row. A file that can't be read counts as one that has: its
    tool says what is wrong with it.
    """
    if not path.exists():
        return False
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=60)) as database:
            database.execute("BEGIN")  # so that nobody takes a table away meanwhile
            rows = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            tables = [name for (name,) in rows if name not in others and not name.startswith("sqlite_")]
            return any(
                database.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone() is not None for name in tables
            )
    except sqlite3.Error:
        return True


def _await_others(
    tool: str, path: Path, holds_records: Callable[[], bool], say: Callable[[str], None]
) -> bool:
    """Wait for programs that have the file open and may be making it, as one that was typed by hand; true if
    it has got records.
    """
    until = time.monotonic() + SECONDS_FOR_OTHERS
    told = False
    while not holds_records():
        if not (others := _having_open(path)):
            return holds_records()
        if time.monotonic() > until:
            raise UserError(
                f"{tool}'s database {path} is half made, and process {others[0]} has it open; end that process first"
            )
        if not told:
            told = True
            say(f"process {others[0]} makes {tool}'s database {path}; waiting for it")
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return True


def _having_open(path: Path) -> list[int]:
    """Other processes of this machine that have a file open."""
    import psutil

    if not path.exists():
        return []
    name = str(path.resolve())
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and any(one.path == name for one in process.open_files()):
                found.append(process.pid)
    return found


def _finished(path: Path, finish: Make) -> bool:
    if not path.exists():
        return False
    try:
        finish(path)
    except Exception:  # of whatever kind: each tool has its own for tables that are there and should not be
        return False
    return True


def _put_aside(path: Path) -> Path:
    _settle(path)
    aside = path.with_name(f"{path.name}.half-made-{time.strftime('%Y%m%d-%H%M%S')}")
    for one in [*_beside(path), path]:
        os.replace(one, aside.with_name(one.name.replace(path.name, aside.name, 1)))
    return aside


def _settle(path: Path) -> None:
    """Bring everything into the one file: what is beside it belongs to it by its name."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _beside(path: Path) -> list[Path]:
    return [one for end in BESIDE if (one := path.with_name(path.name + end)).exists()]


@contextlib.contextmanager
def _turn(path: Path) -> Iterator[None]:
    """Be the only process that makes this file; freed by the system when the process ends."""
    with hold_lock(path.with_name(f"{path.name}.making")):
        yield
