"""`tests.machine`: the libraries really change, and no busy process is left."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import psutil
import pytest

from tests.conftest import REPOSITORY

LOOK = """
import faiss, json, numpy, scipy.linalg, threadpoolctl, torch
from numpy._core._multiarray_umath import __cpu_features__ as features

pools = threadpoolctl.threadpool_info()
print(json.dumps({
    "torch": torch.backends.cpu.get_cpu_capability(),
    "numpy": features["X86_V3"],
    "faiss": faiss.SIMDConfig.get_level_name(),
    "OpenBLAS": sorted({pool["architecture"] for pool in pools if pool["internal_api"] == "openblas"}),
    "threads": sorted({torch.get_num_threads(), *(pool["num_threads"] for pool in pools)}),
}))
"""
CHILDREN = """
import os, psutil, time
print(*(child.pid for child in psutil.Process().children()), flush=True)
time.sleep(300)
"""


def as_on(*options: str) -> list[str]:
    return [sys.executable, "-m", "tests.machine", *options, "--", sys.executable, "-c"]


def libraries(cpu: str) -> Any:
    command = [*as_on("--cpu", cpu, "--threads", "1"), LOOK]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=200)
    return json.loads(done.stdout)


def has_avx2() -> bool:
    from numpy._core._multiarray_umath import __cpu_features__

    return bool(__cpu_features__.get("X86_V3"))


@pytest.mark.skipif(not has_avx2(), reason="needs a processor with AVX2")
@pytest.mark.slow
def test_every_library_takes_the_instructions_and_the_threads_that_are_named() -> None:
    assert libraries("default") == {
        "torch": "DEFAULT",
        "numpy": False,
        "faiss": "NONE",
        "OpenBLAS": ["Nehalem"],
        "threads": [1],
    }
    assert libraries("avx2") == {
        "torch": "AVX2",
        "numpy": True,
        "faiss": "AVX2",
        "OpenBLAS": ["Haswell"],
        "threads": [1],
    }


def test_busy_processes_work_beside_the_command_and_end_with_it_however_it_ends() -> None:
    command = subprocess.Popen(
        [*as_on("--busy", "2"), CHILDREN], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    assert command.stdout is not None
    busy = [psutil.Process(int(pid)) for pid in command.stdout.readline().split()]
    before = [process.cpu_times().user for process in busy]
    while not all(process.cpu_times().user > used for process, used in zip(busy, before, strict=True)):
        assert command.poll() is None
        time.sleep(0.05)
    command.kill()
    command.wait()
    assert len(busy) == 2
    _, left = psutil.wait_procs(busy, timeout=120)
    assert not left


def test_the_commands_exit_status_is_handed_on() -> None:
    command = [*as_on("--busy", "1"), "raise SystemExit(3)"]
    assert subprocess.run(command, cwd=REPOSITORY, timeout=200, check=False).returncode == 3
