"""What Ray costs beside the same extraction in one process, and what a second worker gains.

    make test-ray                                # installs Ray
    python benchmarks/extraction_on_ray.py

A head and two nodes with a core each, on this machine. Each way is measured from its first finished shard to
its last, so that neither starting Ray nor loading backbones counts. Processor time is that of all processes
that take part, told apart: those that decode and run the backbone (or this process, without Ray), Ray's own,
and this process where it only drives. Ways take turns; what is said is the median.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - Ray's name; else whatever runs beside goes first

from machine import machine, write_result  # isort: skip  (before torch)

import psutil
from extraction import RATE, SIZES, moving
from rich.console import Console
from rich.table import Table

from ssvh_model.corpus.folder import look_into
from ssvh_model.manifest import Video
from ssvh_model.progress import no_progress
from ssvh_model.video.encoding import write_video
from ssvh_model.video.places import LocalPlace
from ssvh_model.video.shards import SHARD_VIDEOS
from tasks.extraction.chosen_extractor import open_extraction
from tasks.params.changes import with_changes
from tasks.params.load import load_params
from tasks.params.sections import Params

MEMORY = 200 << 20  # bytes of a node's object store
DIFFERENT = 12  # clips; the others are copies of them
WORKING, RAY, DRIVING = "working", "ray", "driving"


class ProcessorTime:
    """Seconds of processor time by kind of process, since the last call of `restart`."""

    def __init__(self, *, driving: bool) -> None:
        self._here = DRIVING if driving else WORKING
        self.restart()

    def restart(self) -> None:
        """Begin to count."""
        self._before = self._all()

    def seconds(self) -> dict[str, float]:
        """By `WORKING`, `RAY` and `DRIVING`."""
        found = dict.fromkeys((WORKING, RAY, DRIVING), 0.0)
        for pid, (kind, seconds) in self._all().items():
            found[kind] += seconds - self._before.get(pid, (kind, 0.0))[1]
        return found

    def _all(self) -> dict[int, tuple[str, float]]:
        here = psutil.Process()
        found = {here.pid: (self._here, time.process_time())}
        for process in here.children(recursive=True):
            try:
                name, times = " ".join(process.cmdline()[:1]), process.cpu_times()
            except psutil.Error:
                continue
            # Processes for tasks are named after what they do; Ray's agents have names of the same form.
            working = name.startswith(("ray::extract", "ray::look", "ray::IDLE"))
            found[process.pid] = (WORKING if working else RAY, times.user + times.system)
        return found


@dataclass
class Clock:
    """A progress that takes the time from the first finished shard to the last."""

    time: ProcessorTime
    videos: int = 0
    began: float = 0.0
    first: int = 0
    wall: float = 0.0

    def __call__(self, done: int, total: int) -> None:
        if done % SHARD_VIDEOS or done == self.videos:
            return
        self.videos = done
        if not self.first:
            self.first, self.began = done, time.perf_counter()
            self.time.restart()
        self.wall = time.perf_counter() - self.began


def measured(params: Params, videos: list[Video], folder: Path) -> dict[str, float]:
    """Milliseconds a video: by the wall clock, and of processor time by kind."""
    began = time.perf_counter()
    with open_extraction(params, videos, folder, print) as (extraction, extractor):
        clock = Clock(ProcessorTime(driving=params.running.extraction == "ray"))
        extraction.make(extractor, progress=clock, wait=True)
        seconds = clock.time.seconds()
    whole = time.perf_counter() - began
    counted = clock.videos - clock.first
    each = {kind: 1000 * value / counted for kind, value in seconds.items()}
    return {"wall": 1000 * clock.wall / counted, **each, "start_seconds": whole - clock.wall}


def looked_into(videos: list[Video], folder: Path) -> float:
    """Milliseconds of processor time that the stage corpus takes for a video."""
    some = videos[:DIFFERENT] * 8
    began = time.process_time()
    look_into(LocalPlace(folder), some, 1, no_progress)
    return 1000 * (time.process_time() - began) / len(some)


def table_of(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="milliseconds a video")
    for column in ("way", "wall", "working", "Ray itself", "driving", "Ray's share of the processor time"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for row in rows:
        figures = (row["wall"], row[WORKING], row[RAY], row[DRIVING])
        table.add_row(row["way"], *(f"{figure:.1f}" for figure in figures), f"{row['share_of_ray']:.1%}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--shards", type=int, default=3, help=f"of {SHARD_VIDEOS} videos; the first does not count"
    )
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--clips", choices=SIZES, default="camera's clips")
    arguments = parser.parse_args()
    if find_spec("ray") is None:
        print("needs the optional extra ray: make test-ray installs it")
        return
    import torch
    from ray.cluster_utils import Cluster

    torch.set_num_threads(1)
    width, height, length = SIZES[arguments.clips]
    videos = [
        Video(str(number), f"{number % DIFFERENT}.mp4", split="train")
        for number in range(arguments.shards * SHARD_VIDEOS)
    ]
    found: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for clip in range(DIFFERENT):
            write_video(folder / f"{clip}.mp4", moving(width, height, length, clip), rate=RATE, quality=23)
        file_size = sum(file.stat().st_size for file in folder.glob("*.mp4")) / DIFFERENT
        looking = looked_into(videos, folder)
        for turn in range(arguments.repeats):
            for workers in (0, 1, 2):
                changes = {"corpus.source": "folder", "corpus.path": str(folder), "running.workers": 1}
                cluster = None
                if workers:
                    sizes = {"object_store_memory": MEMORY}
                    cluster = Cluster(
                        True, head_node_args={**sizes, "num_cpus": 0, "include_dashboard": False}
                    )
                    for _ in range(workers):
                        cluster.add_node(num_cpus=1, **sizes)
                    changes |= {"running.extraction": "ray", "running.ray.address": cluster.address}
                params = with_changes(load_params(), changes, where="benchmark")
                way = f"Ray, {workers} worker{'s' if workers > 1 else ''}" if workers else "one process"
                try:
                    found.setdefault(way, []).append(measured(params, videos, folder / f"{turn}-{workers}"))
                finally:
                    if cluster is not None:
                        cluster.shutdown()
        shards = [*folder.glob("0-0/shards/*.h5")]
        size = sum(shard.stat().st_size for shard in shards) / len(videos)
    rows = []
    for way, runs in found.items():
        row = {name: round(median(run[name] for run in runs), 2) for name in runs[0]}
        whole = row[WORKING] + row[RAY] + row[DRIVING]
        share = (row[RAY] + row[DRIVING]) / whole if way.startswith("Ray") else 0.0
        rows.append({"way": way, **row, "share_of_ray": round(share, 4)})
    Console().print(table_of(rows))
    print(f"{looking:.1f} ms of processor time to look into a video")
    print(f"{file_size / 1000:.0f} kB a video, {size / 1000:.0f} kB of features and thumbnails")
    write_result(
        "extraction_on_ray",
        {
            "clips": arguments.clips,
            "videos": len(videos),
            "repeats": arguments.repeats,
            "rows": rows,
            "looking_into_milliseconds_a_video": round(looking, 2),
            "bytes_of_a_video": round(file_size),
            "bytes_of_features_and_thumbnails": round(size),
            "machine": machine(),
        },
    )


if __name__ == "__main__":
    main()
