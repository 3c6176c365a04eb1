"""Addresses as people see them, and whether something answers there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ssvh_model.errors import UserError
from tasks.machine.services import answers, without_passwords, without_user
from tasks.records.store import Store
from tasks.registry.versions import Registry


class Always(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Always) as one:
        threading.Thread(target=one.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{one.server_port}"
        one.shutdown()


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql+psycopg://ssvh:secret@db:5432/mlflow", "postgresql+psycopg://ssvh:***@db:5432/mlflow"),
        ("postgresql://ssvh:sec@r/e:t@db/mlflow", "postgresql://ssvh:***@db/mlflow"),
        (
            "postgresql:///optuna?host=/run&password=secret&user=ssvh",
            "postgresql:///optuna?host=/run&password=***&user=ssvh",
        ),
        ("http://ssvh:secret@mlflow:5000", "http://ssvh:***@mlflow:5000"),
        ("postgresql://ssvh@db/mlflow", "postgresql://ssvh@db/mlflow"),
        ("sqlite:////home/a:b/mlflow.db", "sqlite:////home/a:b/mlflow.db"),
        ("http://127.0.0.1:5000/", "http://127.0.0.1:5000/"),
        (
            "to http://ssvh:secret@mlflow:5000/api failed, mail a@b",
            "to http://ssvh:***@mlflow:5000/api failed, mail a@b",
        ),
    ],
)
def test_a_password_is_not_shown(address: str, shown: str) -> None:
    assert without_passwords(address) == shown


def test_a_server_is_asked_without_the_password(server: str) -> None:
    assert answers(f"http://{server}/health")
    assert answers(f"http://someone:secret@{server}/health")
    assert without_user(f"http://someone:secret@{server}/a") == f"http://{server}/a"


@pytest.mark.parametrize(
    "address",
    [
        "http://someone:secret@127.0.0.1:9",
        "postgresql+psycopg://someone:secret@127.0.0.1:9/mlflow?connect_timeout=1",
    ],
)
def test_no_message_about_mlflow_holds_a_password(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr("mlflow.store.db.utils.MAX_RETRY_COUNT", 0)  # instead of three minutes
    for open_it in (Store, lambda: Registry("hasher").aliases()):
        with pytest.raises(UserError) as caught:
            open_it()
        assert "someone:***@127.0.0.1" in str(caught.value)
        assert "secret" not in str(caught.value)
