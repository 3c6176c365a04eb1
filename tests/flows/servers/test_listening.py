"""What the commands open is reached from this machine only (docs/explanation/trust.md)."""

from __future__ import annotations

import signal
import uuid
from urllib.parse import urlsplit

import psutil
import pytest

from tests.flows.conftest import Project

pytestmark = pytest.mark.timeout(900)


def sockets(pid: int) -> set[tuple[str, int]]:
    """Address and port of every socket at which a process, or one that it has started, waits for others."""
    started = psutil.Process(pid)
    return {
        (connection.laddr.ip, connection.laddr.port)
        for process in (started, *started.children(recursive=True))
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }


@pytest.mark.slow
def test_every_page_listens_to_this_machine_only(stub_project: Project) -> None:
    pages = stub_project.start("flows.cli", "ui")
    try:
        shown = set()
        assert pages.stdout is not None
        for line in pages.stdout:
            if line.startswith("  "):
                shown.add(urlsplit(line.split()[1]).port)
            if "ctrl-C" in line:
                break
        listening = sockets(pages.pid)
        assert len(shown) == 3
        assert shown <= {port for _, port in listening}
        assert {address for address, _ in listening} == {"127.0.0.1"}
        pages.send_signal(signal.SIGINT)
        pages.communicate(timeout=300)
    finally:
        pages.kill()


@pytest.mark.slow
@pytest.mark.nightly
def test_a_worker_listens_to_this_machine_at_most(stub_project: Project, prefect_api: str) -> None:
    pool = f"listening-{uuid.uuid4().hex[:8]}"
    made, output = stub_project.run(
        "prefect", "work-pool", "create", pool, "--type", "process", PREFECT_API_URL=prefect_api
    )
    assert made == 0, output
    worker = stub_project.start("flows.cli", "worker", "--pool", pool, PREFECT_API_URL=prefect_api)
    try:
        assert worker.stdout is not None
        said = []
        for line in worker.stdout:
            said.append(line)
            if "started!" in line:
                break
        assert "started!" in said[-1], said
        assert {address for address, _ in sockets(worker.pid)} <= {"127.0.0.1"}
        worker.send_signal(signal.SIGINT)
        worker.communicate(timeout=300)
    finally:
        worker.kill()
