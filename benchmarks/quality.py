"""How good the codes are beside the yardsticks, over several seeds and lengths.

    python benchmarks/quality.py --features data/features/features.h5
    python benchmarks/quality.py --features other.h5 --preset few-recordings --bits 64 --seeds 1 2 3

Trains with params.yaml (with what --preset and --set change) on the feature file's training videos only, and measures its query videos once,
at the end. Prints a table and writes JSON, after every training; started again, it trains only what is not in there with the same
parameters (--again trains all). The file is one of the stage `features`, or any HDF5 file with `features` [n, M, D], `labels` [n] and `is_query` [n];
then all other videos are both training set and database.
"""

from __future__ import annotations

import argparse
import hashlib
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

from ssvh_model.corpus.other_features import as_feature_file
from ssvh_model.files import atomic_path
from ssvh_model.retrieval.report import evaluate_hasher
from ssvh_model.training.checkpoint import load_hasher
from ssvh_model.training.encoded import mean_features
from tasks.experiments.run import begin_process
from tasks.machine.processes import Started, kill_children, terminate_as_interrupt
from tasks.params.changes import parse_changes
from tasks.params.presets import params_with_presets
from tasks.params.sections import Params
from tasks.training.both_phases import train_rounds, train_warmup
from tasks.training.settings import training_session, video_set

# Sections of params.yaml that the figures depend on, given a feature file.
COUNTS = {"seed", "model", "sampler", "losses", "training", "warmup", "rounds", "clustering", "evaluate"}
RESULTS = Path(__file__).parent / "results"


def begin(starter: Started, threads: int) -> None:
    """Prepare a worker, which ends when its starter is gone, and removes its files then."""
    begin_process(starter, threads)
    terminate_as_interrupt()


def measure(params: Params, path: Path) -> dict[str, Any]:
    """Train once and evaluate once: the figures by label, and by finer label where there is one."""
    folder = Path(tempfile.mkdtemp())
    try:
        file = as_feature_file(path, folder)
        began = time.perf_counter()
        session = training_session(params, file)
        warm = train_warmup(session, params, folder / "warmup", lambda row, seconds: None)
        state = train_rounds(session, params, warm, folder, lambda row, seconds: None)
        seconds = time.perf_counter() - began
        hasher = load_hasher(state)
        record = evaluate_hasher(
            video_set(params, hasher, file, file.rows(*params.evaluate.query)),
            video_set(params, hasher, file, file.rows(*params.evaluate.database)),
            train_features=mean_features(file, file.rows("train")),
            exclude_self=params.evaluate.exclude_self,
            itq_seed=params.seed,
        ).record()
        labellings = {"label": record, "fine label": record["fine"]}
        return {
            **identity(params, path),
            "training_videos": len(session.videos),
            "training_seconds": round(seconds, 1),
            "labels": {name: figures(part) for name, part in labellings.items() if part is not None},
        }
    finally:
        shutil.rmtree(folder)


def identity(params: Params, path: Path) -> dict[str, Any]:
    """What a training is known by: length, seed, and a digest of the parameters that count and of the file's name and size."""
    content = f"{params.model_dump_json(include=COUNTS)} {path.name} {path.stat().st_size}"
    return {
        "bits": params.model.bits,
        "seed": params.seed,
        "digest": hashlib.sha256(content.encode()).hexdigest()[:16],
    }


def figures(record: dict[str, Any]) -> dict[str, float]:
    """What the table shows of an evaluation."""
    yardsticks = record["yardsticks"]
    return {
        "gmap": record["gmap"],
        "map_at_5": record["map_at_k"]["5"],
        "float_gmap": yardsticks["float"]["gmap"],
        "itq_gmap": yardsticks["itq"]["gmap"],
    }


def summaries(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and spread over the seeds, one entry a length and labelling."""
    rows = []
    for bits in sorted({result["bits"] for result in results}):
        runs = sorted(
            (result for result in results if result["bits"] == bits), key=lambda result: result["seed"]
        )
        for labels in runs[0]["labels"]:
            values = {
                name: np.array([run["labels"][labels][name] for run in runs])
                for name in runs[0]["labels"][labels]
            }
            spread = {
                name: float(value.std(ddof=1)) if len(runs) > 1 else 0.0 for name, value in values.items()
            }
            rows.append(
                {
                    "bits": bits,
                    "labels": labels,
                    "seeds": len(runs),
                    **{name: float(value.mean()) for name, value in values.items()},
                    "gmap_std": spread["gmap"],
                    "itq_gmap_std": spread["itq_gmap"],
                    "training_seconds": float(np.mean([run["training_seconds"] for run in runs])),
                }
            )
    return rows


def table(rows: list[dict[str, Any]]) -> Table:
    """The summaries as they are printed."""
    made = Table("labels", "bits", "GMAP", "ITQ", "float", "over ITQ", "over float", "MAP@5", "seconds")
    for row in rows:
        made.add_row(
            row["labels"],
            str(row["bits"]),
            f"{row['gmap']:.4f} +- {row['gmap_std']:.4f}",
            f"{row['itq_gmap']:.4f} +- {row['itq_gmap_std']:.4f}",
            f"{row['float_gmap']:.4f}",
            f"{row['gmap'] / row['itq_gmap'] - 1:+.1%}",
            f"{row['gmap'] / row['float_gmap'] - 1:+.1%}",
            f"{row['map_at_5']:.3f}",
            f"{row['training_seconds']:.0f}",
        )
    return made


def main() -> None:
    """Parse the command line, run, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--features", type=Path, default=Path("data/features/features.h5"))
    parser.add_argument("--bits", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--preset", action="append", default=[], metavar="NAME", dest="presets")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="changes")
    parser.add_argument("--workers", type=int, default=1, help="trainings at once; the cores are shared")
    parser.add_argument("--again", action="store_true", help="train also what is in the file already")
    parser.add_argument("--name", default="quality", help="of the file in benchmarks/results")
    arguments = parser.parse_args()

    changes = parse_changes(arguments.changes)
    threads = max(1, torch.get_num_threads() // arguments.workers)
    target = RESULTS / f"{arguments.name}.json"
    wanted = [
        params_with_presets(arguments.presets, changes={**changes, "model.bits": bits, "seed": seed})
        for bits in arguments.bits
        for seed in arguments.seeds
    ]
    known = {run["digest"]: run for run in json.loads(target.read_text())["runs"]} if target.exists() else {}
    digests = [identity(params, arguments.features)["digest"] for params in wanted]
    results = [known[digest] for digest in digests if digest in known and not arguments.again]
    missing = [
        params
        for params, digest in zip(wanted, digests, strict=True)
        if arguments.again or digest not in known
    ]
    pool = ProcessPoolExecutor(
        arguments.workers,
        mp_context=get_context("spawn"),
        initializer=begin,
        initargs=(Started.this(), threads),
    )
    try:
        jobs = [pool.submit(measure, params, arguments.features) for params in missing]
        for job in as_completed(jobs):
            results.append(job.result())
            print(f"{len(results)} of {len(wanted)}: {json.dumps(results[-1])}", flush=True)
            write(target, arguments, threads, results)
    except BaseException:
        # The workers leave a ctrl-C to their starter.
        pool.shutdown(wait=False, cancel_futures=True)
        kill_children()
        raise
    pool.shutdown()
    console = Console()
    wide = console if console.is_terminal else Console(width=120)
    wide.print(table(summaries(results)))


def write(target: Path, arguments: argparse.Namespace, threads: int, results: list[dict[str, Any]]) -> None:
    """The JSON file, as far as it is known."""
    content = {
        "features": arguments.features.name,
        "presets": arguments.presets,
        "changes": arguments.changes,
        "machine": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
        "threads": threads,
        "torch": torch.__version__,
        "summary": summaries(results),
        "runs": sorted(results, key=lambda result: (result["bits"], result["seed"])),
    }
    with atomic_path(target) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
