"""How good the codes are beside the yardsticks, over several seeds.

    python benchmarks/quality.py --features data/features/features.h5 --seeds 1 2 3
    python benchmarks/quality.py --features other.h5 --set model.bits=64 --set warmup.epochs=30

Trains with params.yaml (and what --set changes) on the feature file's training videos only, and measures its query videos once,
at the end. Prints a table and writes JSON. The file is one of the stage `features`, or any HDF5 file with
`features` [n, M, D], `labels` [n] and `is_query` [n]; then all other videos are both training set and database.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from ssvh_model.features import FeatureFile
from ssvh_model.progress import no_progress
from ssvh_model.retrieval.report import evaluate_hasher
from ssvh_model.training.checkpoint import load_hasher
from tasks.both_phases import train_rounds, train_warmup
from tasks.encoded import encode_videos, mean_features
from tasks.feature_input import as_feature_file
from tasks.params import Params
from tasks.params_reading import read_yaml, validate
from tasks.training import TrainingSession

PARAMS = Path("params.yaml")
RESULTS = Path(__file__).parent / "results"


def with_changes(changes: list[str]) -> Params:
    """params.yaml with `dotted.key=value` changes, checked."""
    from ruamel.yaml import YAML

    values: dict[str, Any] = read_yaml(PARAMS)
    for change in changes:
        key, _, text = change.partition("=")
        *sections, last = key.split(".")
        place = values
        for section in sections:
            place = place[section]
        place[last] = YAML(typ="safe").load(text)
    return validate(Params, values, PARAMS)


def train(params: Params, file: FeatureFile, folder: Path) -> tuple[TrainingSession, Path]:
    """Both phases, without stages and records."""
    session = TrainingSession(params, file)

    def watch(row: dict[str, Any], seconds: float) -> None:
        pass

    warm = train_warmup(session, folder / "warmup", watch)
    state = train_rounds(session, warm, folder, watch)
    return session, state


def measure(params: Params, path: Path, threads: int) -> dict[str, Any]:
    """Train once and evaluate once."""
    torch.set_num_threads(threads)
    folder = Path(tempfile.mkdtemp())
    try:
        file = as_feature_file(path, folder)
        began = time.perf_counter()
        session, state = train(params, file, folder)
        seconds = time.perf_counter() - began
        hasher = load_hasher(state).to(session.device)
        database = file.rows(*params.evaluate.database)
        record = evaluate_hasher(
            encode_videos(session, hasher, file, file.rows("query"), no_progress),
            encode_videos(session, hasher, file, database, no_progress),
            train_features=mean_features(file, file.rows("train")),
            exclude_self=params.evaluate.exclude_self,
            itq_seed=params.seed,
        ).record()
        return {
            "seed": params.seed,
            "gmap": record["gmap"],
            "map_at_5": record["map_at_k"]["5"],
            "float_gmap": record["yardsticks"]["float"]["gmap"],
            "itq_gmap": record["yardsticks"]["itq"]["gmap"],
            "training_videos": len(session.train),
            "training_seconds": round(seconds, 1),
        }
    finally:
        shutil.rmtree(folder)


def main() -> None:
    """Parse the command line, run, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--features", type=Path, default=Path("data/features/features.h5"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="changes")
    parser.add_argument(
        "--workers", type=int, default=1, help="seeds at once; the cores are shared between them"
    )
    parser.add_argument("--name", default="quality", help="of the file in benchmarks/results")
    arguments = parser.parse_args()

    table = Table("seed", "GMAP", "MAP@5", "float", "ITQ", "seconds")
    threads = max(1, torch.get_num_threads() // arguments.workers)
    results = []
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        jobs = [
            pool.submit(
                measure, with_changes([*arguments.changes, f"seed={seed}"]), arguments.features, threads
            )
            for seed in arguments.seeds
        ]
        for job in as_completed(jobs):
            results.append(job.result())
            print(results[-1], flush=True)
    results.sort(key=lambda result: result["seed"])
    for result in results:
        figures = [f"{result[name]:.4f}" for name in ("gmap", "map_at_5", "float_gmap", "itq_gmap")]
        table.add_row(str(result["seed"]), *figures, str(result["training_seconds"]))
    params = with_changes(arguments.changes)
    gmaps = np.array([result["gmap"] for result in results])
    summary = {
        "features": arguments.features.name,
        "bits": params.model.bits,
        "gmap_mean": float(gmaps.mean()),
        "gmap_std": float(gmaps.std(ddof=1)) if len(gmaps) > 1 else None,
        "changes": arguments.changes,
        "machine": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
        "torch": torch.__version__,
        "seeds": results,
    }
    console = Console()
    console.print(table)
    console.print(
        f"{params.model.bits} bits: GMAP {gmaps.mean():.4f} +- {summary['gmap_std'] or 0:.4f} over {len(gmaps)} seeds"
    )
    target = RESULTS / f"{arguments.name}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(summary, indent=2) + "\n")


if __name__ == "__main__":
    main()
