"""A short crash campaign with a fresh seed; a failure names the command that repeats it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.crash.campaign import main
from tests.crash.commands import COMMANDS

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(3600)]

KILLS = 4  # 200 more come every night
# They start from two projects only; the others take longer to make than to kill.
SHORT = ("run", "index", "add", "remove", "search while the index is switched")


def test_kills_at_random_moments_need_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert {*SHORT} <= {command.name for command in COMMANDS}
    chosen = [argument for name in SHORT for argument in ("--command", name)]
    seed = str(time.time_ns() % 1_000_000)
    status = main(["--kills", str(KILLS), "--seed", seed, "--folder", str(tmp_path), *chosen])
    assert status == 0, capsys.readouterr().out
