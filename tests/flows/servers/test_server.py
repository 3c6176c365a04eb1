"""The Prefect server of a single command."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from flows.servers.server import NOTE, prefect_server, running_server
from tasks.machine.services import answers

pytestmark = pytest.mark.slow


def test_a_server_that_dies_is_started_again_at_the_same_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / ".prefect"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with prefect_server() as api:
        assert running_server() == api
        first = json.loads(NOTE.read_text())["pid"]
        os.killpg(first, signal.SIGKILL)
        until = time.monotonic() + 120
        while json.loads(NOTE.read_text())["pid"] == first or not answers(f"{api}/health"):
            assert time.monotonic() < until
            time.sleep(0.2)
        assert running_server() == api
    assert "starting it again" in capsys.readouterr().out
    assert not NOTE.exists() and not answers(f"{api}/health")
