"""How soon a large index in a folder is open and answers, what memory that takes, and what a whole `ssvh
search` of a clip does.

    python benchmarks/large_index.py
    git worktree add ../before af84965; python benchmarks/large_index.py --against ../before

With `--against` another version of this project takes turns with this one on the same index, and whether
their answers are the same is written down. Codes and queries are those of benchmarks/search.py. Each turn is
a process of its own on one core, in seconds of its processor time, file cache warm; the least of each counts.
Measured are an index as it was made, and one of which a hundredth was removed since and to which 10,000
videos were added. Ten million videos take 10 GB of memory and 3 GB of disk.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from machine import machine, write_result  # noqa: E402  # isort: skip  (before torch)
from postgres import described  # noqa: E402  # isort: skip
from search import like_videos, table  # noqa: E402  # isort: skip
from search_command import REPOSITORY, search_command, seconds_of  # noqa: E402  # isort: skip

import numpy as np  # noqa: E402
import torch  # noqa: E402
from rich.console import Console  # noqa: E402

from ssvh_model.features import FeatureMeta  # noqa: E402
from ssvh_model.index.index_folder import IndexFolder, IndexSettings  # noqa: E402
from ssvh_model.video.backbones import load_backbone  # noqa: E402
from ssvh_model.video.encoding import write_video  # noqa: E402
from tests.hashers import write_hasher  # noqa: E402
from tests.serving import moving_picture  # noqa: E402

BITS = 64
ADDED = 10_000
REMOVED_SHARE = 0.01

ASK = """
import hashlib, json, sys, time
from pathlib import Path
import numpy as np
from ssvh_model.faiss_import import load_faiss
from ssvh_model.index.snapshot import open_snapshot

load_faiss()
folder, queries, count = Path(sys.argv[1]), np.load(sys.argv[2]), int(sys.argv[3])

def megabytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

def seconds(work):
    began = time.process_time()
    result = work()
    return time.process_time() - began, result

before = megabytes()
opened, snapshot = seconds(lambda: open_snapshot(folder))
megabytes_open = megabytes() - before
first, _ = seconds(lambda: snapshot.nearest(queries[:1], count))
singles = [snapshot.nearest(one[None], count) for one in queries]
single = min(seconds(lambda: [snapshot.nearest(one[None], count) for one in queries])[0] for _ in range(3))
batch = min(seconds(lambda: snapshot.nearest(queries, count))[0] for _ in range(3))
megabytes_asked = megabytes() - before
rows, distances = (np.concatenate(part) for part in zip(*singles))
_, true = snapshot.nearest(queries, count, exact=True)
print(json.dumps({
    "milliseconds_to_open": 1000 * opened,
    "milliseconds_first_query": 1000 * first,
    "milliseconds_a_query": 1000 * single / len(queries),
    "milliseconds_a_query_of_many": 1000 * batch / len(queries),
    "recall": float(np.mean((distances <= true[:, -1:]) & (rows >= 0))),
    "megabytes_open": megabytes_open,
    "megabytes_asked": megabytes_asked,
    "answers": hashlib.sha256(rows.tobytes() + distances.tobytes()).hexdigest(),
}))
"""


def asked(version: Path, index: Path, queries: Path, count: int) -> dict[str, Any]:
    """What a process of a version of this project measures of an index."""
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(index), str(queries), str(count)],
        cwd=version,
        env={**os.environ, "PYTHONPATH": str(version), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measured(
    versions: dict[str, Path], index: Path, queries: Path, clip: Path, count: int, turns: int
) -> list[dict[str, Any]]:
    """A row for each version: the least of each figure."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in versions}
    for _ in range(turns):
        for name, version in versions.items():
            one = asked(version, index, queries, count)
            command = seconds_of(search_command(version, clip, index))
            found[name].append({**one, "milliseconds_command": 1000 * command["counted"]})
    answers = {one.pop("answers") for ones in found.values() for one in ones}
    return [
        {
            "version": name,
            **{key: round(min(one[key] for one in ones), 3) for key in ones[0]},
            "same_answers": len(answers) == 1,
        }
        for name, ones in found.items()
    ]


def main() -> None:
    """Parse the command line, measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", type=int, nargs="+", default=[10**6])
    parser.add_argument("--cells", type=int, default=4096)
    parser.add_argument("--probes", type=int, default=256)
    parser.add_argument("--count", type=int, default=100, help="nearest that are asked for")
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--against", type=Path, help="folder of another version of this project")
    parser.add_argument("--name", default="large_index", help="of the file in benchmarks/results")
    arguments = parser.parse_args()
    versions = {"this": REPOSITORY}
    if arguments.against is not None:
        versions["the other"] = arguments.against.resolve()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        backbone = load_backbone("efficientnet_lite0", size=64, device=torch.device("cpu"))
        meta = FeatureMeta(backbone.name, backbone.weights_sha256, 64)
        hasher = write_hasher(folder / "hasher", bits=BITS, feature_size=1280, meta=meta)
        write_video(folder / "clip.mp4", moving_picture(1), rate=Fraction(8), quality=20)
        for videos in arguments.videos:
            codes, query = like_videos(videos + ADDED, arguments.queries, BITS // 8, 3)
            np.save(folder / "queries.npy", query)
            every = described(codes, hasher, BITS)
            index = IndexFolder(folder / f"index-{videos}")
            for state in ("as made", "changed"):
                with index.alone():
                    if state == "as made":
                        settings = IndexSettings(1, arguments.cells, arguments.probes)
                        index.replace(every.rows(np.arange(videos)), hasher, settings, seed=1)
                    else:
                        index.add(every.rows(np.arange(videos, videos + ADDED)))
                        gone = np.random.default_rng(4).permutation(videos)[: int(REMOVED_SHARE * videos)]
                        index.remove([every.ids[row] for row in gone.tolist()])
                for row in measured(
                    *(versions, index.folder, folder / "queries.npy", folder / "clip.mp4"),
                    *(arguments.count, arguments.turns),
                ):
                    rows.append({"videos": videos, "index": state, **row})
                    print(rows[-1], flush=True)
    Console(width=200).print(table(rows))
    write_result(
        arguments.name,
        {
            "bits": BITS,
            "cells": arguments.cells,
            "probes": arguments.probes,
            "count": arguments.count,
            "rows": rows,
            "machine": machine(),
        },
    )


if __name__ == "__main__":
    main()
