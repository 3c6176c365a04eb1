"""How the threads of torch and faiss wait for their next piece of work."""

from __future__ import annotations

import os

# Some ten microseconds of spinning, then sleep. Where another process wants the cores too, threads that only
# spin make a training several times slower; where none does, waking threads that sleep at once takes a sixth
# of a training of many small operations.
WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}


def sleep_when_idle() -> None:
    """Have threads that wait sleep soon, unless the environment says how they wait. Call it before torch and
    faiss are imported.
    """
    for name, value in WAITING.items():
        os.environ.setdefault(name, value)
