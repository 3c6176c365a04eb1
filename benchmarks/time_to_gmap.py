"""How soon a training finds as well as the straightforward way does at its end.

    python benchmarks/time_to_gmap.py
    python benchmarks/time_to_gmap.py --features asl.h5 --preset few-recordings --gmap 0.100 \\
        --reference-epochs 60

Trains until the query videos are found with that GMAP, or else as well as by the float features, by the codes
of the weights after an epoch (measuring takes no part in the time, and decides nothing but when to stop
here). The straightforward way (`reference/training.py`, the paper's network) is timed for some epochs,
without its clusterings, and taken to need the epochs that are given. Writes results/time_to_gmap.json.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from machine import machine, write_result  # isort: skip  (before torch)

from reference.training import ReferenceTrainer

from ssvh_model.corpus.other_features import as_feature_file
from ssvh_model.features import FeatureFile
from ssvh_model.losses.objective import Objective
from ssvh_model.model.autossvh import DecoderConfig, build_model
from ssvh_model.model.hasher import HasherConfig
from ssvh_model.model.sampler import SamplerConfig
from ssvh_model.training.checkpoint import CheckpointFolder, load_hasher
from tasks.experiments.videos import measure_hasher
from tasks.params.changes import parse_changes
from tasks.params.presets import params_with_presets
from tasks.params.sections import Params
from tasks.training.both_phases import train_rounds, train_warmup
from tasks.training.settings import training_session


class Found(Exception):
    """The figure is reached."""


def until(target: float | None, params: Params, file: FeatureFile, folder: Path) -> list[dict[str, float]]:
    """Seconds of training, GMAP and what is wanted of it after each epoch, to the first that has it."""
    rows: list[dict[str, float]] = []
    began = time.perf_counter()
    session = training_session(params, file)
    spent = time.perf_counter() - began

    def on_epoch(row: dict[str, Any], seconds: float) -> None:
        nonlocal spent
        spent += seconds
        newest = CheckpointFolder(folder / row["phase"]).newest()
        assert newest is not None, "every epoch is kept"
        found = measure_hasher(params, load_hasher(newest), file, "query").coarse.measured()
        gmap = found["hasher"].gmap
        wanted = found["float"].gmap if target is None else target
        rows.append({"epoch": row["epoch"], "seconds": spent, "gmap": gmap, "wanted": wanted})
        print(f"epoch {row['epoch']:>3}  {spent:7.1f} s  GMAP {gmap:.4f} of {wanted:.4f}", flush=True)
        if gmap >= wanted:
            raise Found

    try:
        warm = train_warmup(session, params, folder / "warmup", on_epoch)
        train_rounds(session, params, warm, folder, on_epoch)
    except Found:
        pass
    return rows


def reference_epoch(file: FeatureFile, bits: int, epochs: int) -> float:
    """Seconds of an epoch of the straightforward way, over the training videos."""
    features = file.read(file.rows("train"))
    _, frames, size = features.shape
    model = build_model(
        HasherConfig(
            feature_size=size, frames=frames, bits=bits, width=256, layers=12, heads=6, mlp_ratio=4.0,
            position_scale=1.0, pooling="votes",
        ),
        DecoderConfig(width=192, layers=2, heads=3),
        SamplerConfig("adversarial", mask_ratio=0.5, gumbel=1.0, noise=0.1, temperature=0.5),
        seed=0,
    )  # fmt: skip
    objective = Objective(
        reconstruction=1.0, alpha=1.0, beta=0.2, temperature=0.5, tau_plus=0.1, negatives="all"
    )
    trainer = ReferenceTrainer(
        model, features, objective=objective, batch_size=64, learning_rate=1e-4, reversal=1.0, code_noise=0.0, seed=0
    )  # fmt: skip
    times = []
    for _ in range(epochs + 1):
        began = time.perf_counter()
        trainer.train_epoch()
        times.append(time.perf_counter() - began)
    return median(times[1:])


def main() -> None:
    """Parse the command line, measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--features", type=Path, default=Path("data/features/features.h5"))
    parser.add_argument("--gmap", type=float, help="default: of the float features")
    parser.add_argument("--reference-epochs", type=int, default=60)
    parser.add_argument("--preset", action="append", default=[], metavar="NAME", dest="presets")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="changes")
    options = parser.parse_args()
    # What is settled without training, such as how longer codes are shortened, is settled when an epoch is
    # measured.
    every = {"running.checkpoint_every": 1, "training.validate_every": 1}
    changes = {**parse_changes(options.changes), **every}
    params = params_with_presets(options.presets, changes=changes)
    with tempfile.TemporaryDirectory() as folder:
        file = as_feature_file(options.features, Path(folder))
        epoch = reference_epoch(file, params.model.bits, 3)
        rows = until(options.gmap, params, file, Path(folder))
    reference = epoch * options.reference_epochs
    reached = rows[-1]["gmap"] >= rows[-1]["wanted"]
    print(
        f"{'reached' if reached else 'not reached'} after {rows[-1]['seconds']:.1f} s; "
        f"the straightforward way takes {reference:.0f} s, {reference / rows[-1]['seconds']:.0f} times as long"
    )
    write_result(
        "time_to_gmap",
        {
            "features": options.features.name,
            "presets": options.presets,
            "changes": options.changes,
            "reached": reached,
            "epochs": rows,
            "reference": {
                "seconds_an_epoch": epoch,
                "epochs": options.reference_epochs,
                "seconds": reference,
            },
            "machine": machine(),
        },
    )


if __name__ == "__main__":
    main()
