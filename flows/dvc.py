"""DVC from outside: what is out of date, and bringing it up to date."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence

from flows import children
from ssvh_model.errors import UserError

DVC = (sys.executable, "-m", "dvc")


def out_of_date() -> set[str]:
    """Names of the stages whose parameters, inputs or outputs differ from the lock file. What follows them is not in it.

    Raises:
        UserError: DVC can't tell.
    """
    command = [*DVC, "--wait-for-lock", "status", "--json"]
    asked = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if asked.returncode != 0:
        reason = " ".join(asked.stderr.replace("ERROR:", "").split()) or f"exit status {asked.returncode}"
        raise UserError(f"dvc status: {reason}")
    return set(json.loads(asked.stdout or "{}"))


def reproduce(*stages: str, single: bool, extra: Mapping[str, str]) -> int:
    """Run what is out of date and return DVC's exit status.

    Args:
        stages: names; none means all.
        single: only these stages themselves, nothing before them, and without DVC's hints at the end.
        extra: variables to hand to the stages.
    """
    options: Sequence[str] = ["--single-item", "--quiet"] if single else []
    return children.run([*DVC, "--wait-for-lock", "repro", *options, *stages], extra=extra)
