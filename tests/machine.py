"""Run a command as another machine would: with other instructions, with fewer threads, or beside busy
processes.

    python -m tests.machine --cpu avx2 --threads 1 --busy 4 -- python -m pytest tests/tasks

`make test CPU=default THREADS=1 BUSY=4` does it for the tests. The busy processes end when the command ends,
however it does.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from typing import NoReturn

# What each library asks for: torch, and in it MKL and oneDNN; numpy; OpenBLAS, which numpy, scipy and faiss
# bring; faiss.
INSTRUCTIONS = {
    "default": {
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_CBWR": "COMPATIBLE",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
        "OPENBLAS_CORETYPE": "Nehalem",
        "FAISS_SIMD_LEVEL": "NONE",
    },
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_CBWR": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
        "OPENBLAS_CORETYPE": "Haswell",
        "FAISS_SIMD_LEVEL": "AVX2",
    },
}
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
BUSY = "import os, sys\nwhile os.getppid() == int(sys.argv[1]): sum(range(10**6))"


def main(arguments: list[str]) -> NoReturn:
    """Become the command, in the environment that was asked for and with the busy processes as its
    children.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.machine", description=__doc__)
    parser.add_argument("--cpu", choices=INSTRUCTIONS)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--busy", type=int, default=0)
    parser.add_argument("command", nargs="+")
    asked = parser.parse_args(arguments)
    os.environ.update(INSTRUCTIONS.get(asked.cpu, {}))
    if asked.threads is not None:
        os.environ.update(dict.fromkeys(THREADS, str(asked.threads)))
    for _ in range(asked.busy):
        command = [sys.executable, "-c", BUSY, str(os.getpid())]
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    os.execvp(asked.command[0], asked.command)


if __name__ == "__main__":
    main(sys.argv[1:])
