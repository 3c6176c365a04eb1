"""How benchmarks take the time, and what their result files say about the machine.

Import it before torch: threads that wait must not spin, because their processor time would count.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.machine.threads import sleep_when_idle

if TYPE_CHECKING:
    from ssvh_model.model.precision import Precision

sleep_when_idle()

RESULTS = Path(__file__).parent / "results"
IMAGES = Path(__file__).parents[1] / "docs" / "images"


def processor_seconds() -> float:
    """A clock that other work on the machine moves little: processor time of all threads, or the wall clock
    where a GPU does the work.
    """
    import torch

    return time.perf_counter() if torch.cuda.is_available() else time.process_time()


def timed(work: Callable[[], object]) -> dict[str, float]:
    """Seconds that `work` takes by the wall `clock`, and `counted` by `processor_seconds`."""
    clock, counted = time.perf_counter(), processor_seconds()
    work()
    return {"clock": time.perf_counter() - clock, "counted": processor_seconds() - counted}


def best(work: Callable[[], object], repeats: int) -> dict[str, float]:
    """The fastest of `repeats` times, after one that does not count."""
    work()
    return min((timed(work) for _ in range(repeats)), key=lambda one: one["counted"])


def precisions() -> list[Precision]:
    """Those that the processor has in hardware, float32 first."""
    import torch

    from ssvh_model.model.precision import best_precision

    best_here = best_precision(torch.device("cpu"))
    return ["float32"] if best_here == "float32" else ["float32", best_here]


def machine() -> dict[str, Any]:
    """Cores, versions and how busy the machine was; timings of a shared machine count as ratios only."""
    import faiss
    import torch

    return {
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch_threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "faiss": faiss.__version__,
        "load_average_at_the_end": round(os.getloadavg()[0], 2),
        "shared_with_other_work": os.getloadavg()[0] > (os.cpu_count() or 1),
    }


def read_result(name: str) -> dict[str, Any]:
    """What benchmarks/results/<name>.json holds."""
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def write_result(name: str, content: dict[str, Any]) -> None:
    """Write benchmarks/results/<name>.json."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(f"wrote {RESULTS.name}/{name}.json")
