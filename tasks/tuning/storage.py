"""Optuna's storage: where it is, a way through a database that is away for a while, and whose turn it is to
take a trial.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from optuna import Study
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import TrialState
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, PendingRollbackError
from sqlalchemy.pool import NullPool

from ssvh_model.errors import UserError
from ssvh_model.locks import hold_lock
from tasks import paths
from tasks.machine.services import without_passwords

ADDRESS_VARIABLE = "OPTUNA_STORAGE"  # the name that Optuna's own command line uses
WORKER = "ssvh.worker"  # attribute of a trial: who has begun it
FAILURE = "ssvh.failure"  # attribute of a trial: why it failed; one without was left by its worker
TRIES_OF_A_TRIAL = 3
PATIENCE = 300.0
PATIENCE_OF_A_HEARTBEAT = 10.0  # the end of a trial waits for it, also when the trial was asked to stop
SECONDS_BETWEEN_TRIES = 1.0
SECONDS_TO_CONNECT = 10

# What RDBStorage and the cache that Optuna puts before it ask the database for.
OPERATIONS = (
    "create_new_study",
    "set_study_user_attr",
    "set_study_system_attr",
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_directions",
    "get_study_user_attrs",
    "get_study_system_attrs",
    "get_all_studies",
    "_create_new_trial",
    "_set_trial_param",
    "set_trial_state_values",
    "set_trial_intermediate_value",
    "set_trial_user_attr",
    "set_trial_system_attr",
    "get_trial_id_from_study_id_trial_number",
    "get_trial",
    "_get_trials",
    "_get_best_trial_id",
    "_get_stale_trial_ids",
)


def storage_address() -> str:
    """`OPTUNA_STORAGE`, or an SQLite file in the project's folder."""
    return os.environ.get(ADDRESS_VARIABLE) or f"sqlite:///{paths.OPTUNA_STORE.resolve()}"


def shown_address() -> str:
    """The address without a password."""
    return without_passwords(storage_address())


def shares_workers() -> bool:
    """Whether several workers can use the storage at once; SQLite is not made for that."""
    return make_url(storage_address()).get_backend_name() != "sqlite"


def open_storage(heartbeat: int) -> RDBStorage:
    """The storage, its tables made where there are none.

    Args:
        heartbeat: seconds between two signs of life of a trial; after twice as long without, the trial is
            taken up again.

    Raises:
        UserError: the address is wrong, or no database answers there.
    """
    try:
        kind = make_url(storage_address()).get_backend_name()
    except ArgumentError:
        raise UserError(
            f"{ADDRESS_VARIABLE} is no address of a database; allowed is such as postgresql://user@host/optuna"
        ) from None
    if kind not in ("sqlite", "postgresql"):
        raise UserError(f"{ADDRESS_VARIABLE} is {shown_address()}; allowed are sqlite and postgresql")
    waits = {"timeout": 60} if kind == "sqlite" else {"connect_timeout": SECONDS_TO_CONNECT}
    # Several workers that start at once make the tables only once.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        try:
            if kind == "postgresql":
                # At the start an address is more likely wrong than the server away: no patience.
                _connect(storage_address()).close()
            with _turn_at(storage_address(), "tables"):
                return PatientStorage(
                    storage_address(),
                    engine_kwargs={"pool_pre_ping": True, "connect_args": waits},
                    heartbeat_interval=heartbeat,
                    grace_period=2 * heartbeat,
                )
        except (DBAPIError, StorageInternalError) as error:
            raise UserError(
                f"Optuna's storage {shown_address()} can't be reached: {_reason(error)}"
            ) from error


def open_for_reading() -> RDBStorage:
    """The storage as Optuna's pages use it, its tables made where there are none."""
    with _turn_at(storage_address(), "tables"):
        return RDBStorage(storage_address(), engine_kwargs={"pool_pre_ping": True})


def take_up_again(study: Study) -> None:
    """Put every trial whose worker is gone, and which nobody has taken up yet, back into the queue with the
    same parameters.

    Whether one was taken up is read from the trials themselves: who did it may be killed in the middle, or
    may not hear from a database that restarts whether it was done. To be called by one process at a time.
    """
    trials = study.get_trials(deepcopy=False)
    taken_up = {number for trial in trials for number in trial.system_attrs.get("retry_history", ())}
    for known in trials:
        gone = known.state == TrialState.FAIL and FAILURE not in known.user_attrs
        if not gone or known.number in taken_up:
            continue
        trial = copy.deepcopy(known)
        trial.user_attrs.pop(WORKER, None)
        # The number of the new trial may put it into another of Hyperband's brackets, whose rungs are other
        # ones.
        trial.system_attrs = {
            name: value
            for name, value in trial.system_attrs.items()
            if not name.startswith("completed_rung_")
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            RetryHeartbeatStaleTrialCallback(max_retry=TRIES_OF_A_TRIAL)(study, trial)


@contextlib.contextmanager
def turn(study: str) -> Iterator[None]:
    """Be the only process, on all machines, that is in this block for a study; freed by the system when the
    process ends.
    """
    with _turn_at(storage_address(), study):
        yield


@contextlib.contextmanager
def _turn_at(address: str, name: str) -> Iterator[None]:
    url = make_url(address)
    if url.get_backend_name() == "sqlite":
        # A lock in the database itself would keep Optuna from writing there.
        with hold_lock(Path(f"{url.database}.lock")):
            yield
        return
    connection = patient(_lock)(
        address, int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
    )
    try:
        yield
    finally:
        with contextlib.suppress(DBAPIError):  # the lock went with the connection
            connection.close()


def _lock(address: str, number: int) -> Connection:
    """Wait for PostgreSQL's lock of that number; it is held as long as the connection."""
    connection = _connect(address)
    try:
        connection.execute(text("SELECT pg_advisory_lock(:number)"), {"number": number})
    except DBAPIError:
        connection.close()
        raise
    return connection


def _connect(address: str) -> Connection:
    waits = {"connect_timeout": SECONDS_TO_CONNECT}
    engine = create_engine(address, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=waits)
    return engine.connect()


_patience = PATIENCE


@contextlib.contextmanager
def impatient() -> Iterator[None]:
    """Wait for no database in this block, as where the process was asked to end."""
    global _patience
    _patience = 0.0
    try:
        yield
    finally:
        _patience = PATIENCE


def patient(operation: Callable[..., Any], most: float = PATIENCE) -> Callable[..., Any]:
    """`operation`, tried again while the database is away, as when it restarts; after `most` seconds a
    `UserError`.
    """

    @functools.wraps(operation)
    def trying(*arguments: Any, **named: Any) -> Any:
        began = time.monotonic()
        told = False
        while True:
            try:
                return operation(*arguments, **named)
            except (DBAPIError, StorageInternalError) as error:
                if not _away(error):
                    raise
                waited = time.monotonic() - began
                if waited > min(most, _patience):
                    raise UserError(
                        f"Optuna's storage {shown_address()} has been away for {waited:.0f} s: {_reason(error)}"
                    ) from error
                if not told:
                    told = True
                    print(
                        f"Optuna's storage {shown_address()} is away ({_reason(error)}); waiting for it",
                        flush=True,
                    )
                time.sleep(SECONDS_BETWEEN_TRIES)

    return trying


def _away(error: BaseException) -> bool:
    cause = _cause(error)
    return isinstance(cause, DBAPIError) and (
        cause.connection_invalidated or type(cause).__name__ in ("OperationalError", "InterfaceError")
    )


def _cause(error: BaseException) -> BaseException | None:
    cause = error if isinstance(error, DBAPIError) else error.__cause__
    # After an error, Optuna may ask again over the same connection, which SQLAlchemy refuses if it is lost.
    return cause.__context__ if isinstance(cause, PendingRollbackError) else cause


def _reason(error: BaseException) -> str:
    cause = _cause(error) or error
    lines = str(getattr(cause, "orig", None) or cause).strip().splitlines()
    return " ".join(lines[0].split())[:200] if lines else type(cause).__name__


class PatientStorage(RDBStorage):
    """Optuna's storage in a database that may be away for a while."""

    def record_heartbeat(self, trial_id: int) -> None:
        """Give a sign of life. One that the database does not take is left out, so that the next one is
        given.
        """
        with contextlib.suppress(UserError):
            patient(super().record_heartbeat, PATIENCE_OF_A_HEARTBEAT)(trial_id)


for _name in OPERATIONS:
    setattr(PatientStorage, _name, patient(getattr(RDBStorage, _name)))
