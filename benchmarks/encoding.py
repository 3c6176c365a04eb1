"""How fast stored features become codes: videos a second by precision, batch size and preset, and what bounds
it.

    python benchmarks/encoding.py

One core, seconds of processor time, features out of a file in the file cache. "reading" is the file's part,
"network" the hasher's; the rate of arithmetic beside what a plain matrix product in the same precision
reaches on the same core tells whether the network is bound by that. Precisions take turns; a ratio is to
float32 in the same preset and batch.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import replace
from operator import truediv
from pathlib import Path
from statistics import median
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

from machine import best, machine, precisions, timed, write_result  # isort: skip  (before torch)

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from ssvh_model.corpus.published.sets import PUBLISHED_SETS
from ssvh_model.features import FeatureFile, FeatureMeta, write_feature_file
from ssvh_model.model.hasher import HasherConfig, VideoHasher
from ssvh_model.model.precision import Precision, wide_float32_products
from ssvh_model.training.encoding import encode
from ssvh_model.training.frame_source import FrameSource
from tasks.params.presets import params_with_presets
from tasks.training.settings import hasher_config

REPEATS = 3
DEMO_FEATURES = 1280  # D of EfficientNet-Lite0
PRESETS: dict[str, list[str]] = {
    "params.yaml": [],
    "few-recordings": ["few-recordings"],
    **{f"paper {name}": ["paper", name] for name in PUBLISHED_SETS},
}


def configurations() -> dict[str, HasherConfig]:
    """The hasher of each preset, at the length of params.yaml."""
    found = {}
    for name, presets in PRESETS.items():
        params = params_with_presets(presets, changes={})
        published = params.corpus.source == "published"
        size = PUBLISHED_SETS[params.corpus.published.dataset].feature_size if published else DEMO_FEATURES
        found[name] = hasher_config(params, frames=params.features.frames, feature_size=size)
    return found


def operations(config: HasherConfig) -> float:
    """Floating-point operations of encoding one video, multiplications and additions both."""
    width, frames = config.width, config.frames
    block = 4 * width * width + 2 * width * int(width * config.mlp_ratio) + 2 * frames * width
    dense = config.feature_size * width + config.layers * block + width * config.bits
    return 2.0 * frames * dense


@wide_float32_products()
def peak(precision: Precision) -> float:
    """Operations a second of a matrix product on this core."""
    kind = getattr(torch, precision)
    left, right = torch.randn(2048, 1024).to(kind), torch.randn(1024, 1024).to(kind)
    return 2 * 2048 * 1024 * 1024 / best(lambda: left @ right, 5)["counted"]


def measure(
    name: str, config: HasherConfig, batches: list[int], videos: int, most: dict[Precision, float]
) -> list[dict[str, Any]]:
    """A row for each batch size and precision."""
    hashers = {precision: VideoHasher(replace(config, precision=precision)).eval() for precision in most}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.h5"
        rng = np.random.default_rng(0)
        write_feature_file(
            path,
            rng.standard_normal((videos, config.frames, config.feature_size), dtype=np.float32),
            ids=[str(row) for row in range(videos)],
            labels=[()] * videos,
            splits=["train"] * videos,
            meta=FeatureMeta("", "", 0),
        )
        source = FrameSource.from_file(FeatureFile(path), np.arange(videos), memory_limit=0)
        rows = []
        for batch in batches:

            def whole(precision: Precision, batch: int = batch) -> None:
                encode(hashers[precision], source, batch_size=batch, device=torch.device("cpu"))

            def reading(batch: int = batch) -> None:
                for start in range(0, videos, batch):
                    source.fetch(np.arange(start, min(start + batch, videos))).float()

            read = best(reading, 3)["counted"]
            taken: dict[Precision, list[float]] = {precision: [] for precision in most}
            for turn in range(REPEATS + 1):
                for precision, seconds in taken.items():
                    once = timed(lambda precision=precision: whole(precision))["counted"]
                    if turn:
                        seconds.append(once)
            for precision, times in taken.items():
                seconds = min(times)
                rate = operations(config) * videos / max(seconds - read, 1e-9)
                rows.append(
                    {
                        "preset": name,
                        "precision": precision,
                        "batch": batch,
                        "videos_a_second": round(videos / seconds, 1),
                        "ratio": round(median(map(truediv, taken["float32"], times)), 2),
                        "reading": round(read / seconds, 3),
                        "network": round(1 - read / seconds, 3),
                        "of_a_matrix_product": round(rate / most[precision], 2),
                    }
                )
    return rows


def main() -> None:
    """Parse the command line, measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32, 128, 512])
    parser.add_argument("--videos", type=int, default=256)
    parser.add_argument("--name", default="encoding", help="of the file in benchmarks/results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    most = {precision: peak(precision) for precision in precisions()}
    rows = []
    for name, config in configurations().items():
        rows += measure(name, config, arguments.batches, arguments.videos, most)
    table = Table("preset", "precision", "batch", "videos a second", "ratio", "reading", "network")
    table.add_column("of a matrix product")
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console(width=110).print(table)
    for precision, operations_a_second in most.items():
        print(f"a matrix product in {precision} reaches {operations_a_second / 1e9:.0f} GFLOP/s on this core")
    write_result(
        arguments.name,
        {
            "videos": arguments.videos,
            "gflops_of_a_matrix_product": {name: round(rate / 1e9, 1) for name, rate in most.items()},
            "rows": rows,
            "machine": machine(),
        },
    )


if __name__ == "__main__":
    main()
