"""How threads wait."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tasks.machine.threads import WAITING, sleep_when_idle


def test_what_the_environment_says_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    sleep_when_idle()
    assert os.environ["GOMP_SPINCOUNT"] == "7"
    assert os.environ["OMP_WAIT_POLICY"] == WAITING["OMP_WAIT_POLICY"]


@pytest.mark.parametrize(
    "start",
    [
        "import tasks.stage",
        "import tasks.experiments.run",
        "from flows.cli import main\ntry: main(['search', '--help'])\nexcept SystemExit: pass",
    ],
)
def test_whatever_computes_says_so_before_torch_is_imported(start: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in WAITING}
    program = (
        "import os, sys\n"
        "from importlib.abc import MetaPathFinder\n"
        "class Watch(MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name in ('torch', 'faiss'):\n"
        f"            assert {WAITING!r}.items() <= os.environ.items(), name\n"
        "sys.meta_path.insert(0, Watch())\n"
        f"{start}\n"
        "import torch\n"
    )
    found = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
