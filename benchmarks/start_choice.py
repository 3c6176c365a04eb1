"""How well the agreement of clusters, which needs no labels, tells which start of a training is the best.

    python benchmarks/start_choice.py --features data/features/features.h5

Makes the starts from ITQ that `model.whitening: auto` and `model.within_video: auto` choose from, at several
lengths, and prints for each the agreement on the training videos beside the GMAP of the queries, which takes
no part in the choice; with Spearman's correlation of the two.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

from machine import write_result  # isort: skip  (before torch)

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr

from ssvh_model.corpus.other_features import as_feature_file
from ssvh_model.features import FeatureFile
from ssvh_model.retrieval.evaluation import evaluate_codes
from ssvh_model.retrieval.itq import train_itq
from ssvh_model.training.agreement import code_agreement
from ssvh_model.training.encoded import encode_rows, mean_features
from ssvh_model.training.initialization import CANDIDATES
from tasks.params.presets import params_with_presets
from tasks.training.settings import training_session


def starts(file: FeatureFile, bits: int, seed: int) -> dict[str, Any]:
    """Agreement and GMAP of every start, and GMAP of ITQ."""
    query = file.rows("query")
    database = np.sort(np.concatenate([file.rows(split) for split in ("train", "validation", "database")]))
    labels = [[file.labels[row] for row in rows] for rows in (query, database)]
    ids = [[file.ids[row] for row in rows] for rows in (query, database)]

    def gmap(of_query: np.ndarray, of_database: np.ndarray) -> float:
        return evaluate_codes(of_query, of_database, *labels, *ids, exclude_self=True).gmap

    made = []
    for whitening, within_video in CANDIDATES:
        changes = {"model.whitening": whitening, "model.within_video": within_video}
        params = params_with_presets([], changes={**changes, "model.bits": bits, "seed": seed})
        session = training_session(params, file)
        trainer = session.trainer()
        session.initialize(trainer)
        session.measure(trainer)  # learns the compression of longer codes
        hasher = trainer.model.hasher.eval()
        device, batch = session.device, params.training.batch_size
        sides = [
            encode_rows(hasher, file, rows, batch_size=batch, device=device) for rows in (query, database)
        ]
        made.append(
            {
                "whitening": whitening,
                "within_video": within_video,
                "agreement": code_agreement(
                    hasher, session.videos, batch_size=batch, device=device, seed=seed
                ),
                "gmap": gmap(*(side.codes for side in sides)),
            }
        )
    itq = train_itq(mean_features(file, file.rows("train")), bits=bits, seed=seed)
    return {
        "bits": bits,
        "seed": seed,
        "correlation": float(spearmanr([one["agreement"] for one in made], [one["gmap"] for one in made])[0]),
        "chosen": max(range(len(made)), key=lambda number: made[number]["agreement"]),
        "itq_gmap": gmap(*(itq.encode(mean_features(file, rows)) for rows in (query, database))),
        "starts": made,
    }


def table(results: list[dict[str, Any]]) -> Table:
    """A row a length: what was chosen, and what there was."""
    made = Table("bits", "correlation", "chosen", "its GMAP", "plain start", "best", "worst", "ITQ")
    for one in results:
        gmaps, chosen = [start["gmap"] for start in one["starts"]], one["starts"][one["chosen"]]
        name = f"whitening {chosen['whitening']}, within_video {chosen['within_video']}"
        figures = (chosen["gmap"], gmaps[0], max(gmaps), min(gmaps), one["itq_gmap"])
        made.add_row(
            str(one["bits"]), f"{one['correlation']:.2f}", name, *(f"{figure:.4f}" for figure in figures)
        )
    return made


def main() -> None:
    """Parse the command line, run, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--features", type=Path, default=Path("data/features/features.h5"))
    parser.add_argument("--bits", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--name", default="start_choice", help="of the file in benchmarks/results")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        file = as_feature_file(arguments.features, folder)
        results = [starts(file, bits, arguments.seed) for bits in arguments.bits]
    finally:
        shutil.rmtree(folder)
    content = {"features": arguments.features.name, "torch": torch.__version__, "lengths": results}
    write_result(arguments.name, content)
    console = Console()
    (console if console.is_terminal else Console(width=120)).print(table(results))


if __name__ == "__main__":
    main()
