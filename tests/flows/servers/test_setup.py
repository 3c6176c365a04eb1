"""`ssvh setup`: what it can't make is one line that names the variable."""

from __future__ import annotations

import pytest

from flows.servers.server import free_port
from flows.servers.setup import BUCKETS, DATABASES, set_up
from ssvh_model.errors import UserError
from tests.postgresql import PostgreSQL


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*DATABASES, *BUCKETS):
        monkeypatch.delenv(name, raising=False)


def test_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTUNA_STORAGE", "sqlite:///optuna.db")
    with pytest.raises(
        UserError, match=r"nothing to set up: none of PREFECT_API_DATABASE_.* names a PostgreSQL"
    ):
        set_up()


def test_an_address_without_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSVH_INDEX_URL", "postgresql://me:secret@localhost")
    with pytest.raises(
        UserError, match=r"SSVH_INDEX_URL is postgresql://me:\*\*\*@localhost, which names no"
    ):
        set_up()


def test_a_server_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTUNA_STORAGE", f"postgresql+psycopg://me:secret@127.0.0.1:{free_port()}/optuna")
    with pytest.raises(UserError, match=r"OPTUNA_STORAGE is .*can't be made: connection failed") as caught:
        set_up()
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_name_that_needs_quotes(
    monkeypatch: pytest.MonkeyPatch, postgresql: PostgreSQL, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(
        "MLFLOW_BACKEND_STORE_URI", postgresql.url('of "setup"').replace('"', "%22").replace(" ", "%20")
    )
    set_up()
    set_up()
    assert capsys.readouterr().out.splitlines() == ['database of "setup": made', 'database of "setup": there']


def test_a_store_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ARTIFACTS_DESTINATION", "s3://bucket/mlflow")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "secret")
    with pytest.raises(
        UserError, match="MLFLOW_ARTIFACTS_DESTINATION: bucket bucket can't be made: Could not connect"
    ):
        set_up()
