"""What each way of selecting a training's state is worth (params.yaml, `selection`), after trainings that
gain and ones that do harm.

    python benchmarks/selection.py --corpus kitchen=gtea.h5 --corpus webcam=asl.h5 --name selection-mine

Trains in four ways with each length and seed; a corpus without validation videos has some held out, as for
experiments. Start and all measured epochs have the GMAP of the queries, which take no part in anything,
beside what selects. Prints a row a training, and for each way of selecting the mean GMAP of what it selects:
of start and end, and of the epoch with the best validation GMAP or score. Some minutes a training; what is
done stays in .work/selection.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from machine import write_result  # isort: skip  (before torch)

import numpy as np
import torch
from label_free import WAYS
from quality import Corpus
from rich.console import Console
from rich.table import Table

from ssvh_model.corpus.other_features import as_feature_file, hold_out_validation
from ssvh_model.features import FeatureFile
from ssvh_model.files import atomic_path
from ssvh_model.retrieval.evaluation import evaluate_codes
from ssvh_model.training.checkpoint import History
from ssvh_model.training.figures import LABEL_FREE_SCORE, VALIDATION_GMAP
from ssvh_model.training.selection import OF_START, WaysToSelect, select_state
from ssvh_model.training.session import TrainingSession
from ssvh_model.training.trainer import Trainer
from tasks.params.presets import params_with_presets
from tasks.params.sections import Params
from tasks.pipeline.trained_by import WHOLE_TRAINING, trained_by
from tasks.training.both_phases import train_rounds, train_warmup
from tasks.training.settings import training_session, video_set

KEPT = Path(".work/selection")
TRIED = ("default", "gamma0", "alpha2", "noise0-beta0")
SELECTING: tuple[WaysToSelect, ...] = ("end", "auto", "label_free", "labels")
QUERY_GMAP = "query_gmap"


@dataclass(frozen=True)
class Training:
    """One row of what is to be done."""

    corpus: Corpus
    bits: int
    seed: int
    way: str

    @cached_property
    def params(self) -> Params:
        """Of the training."""
        return params_with_presets([], changes={**WAYS[self.way], "model.bits": self.bits, "seed": self.seed})

    @cached_property
    def result(self) -> Path:
        """Where its history stays, by all that it depends on."""
        depends = trained_by(*WHOLE_TRAINING)
        values = depends.values(self.params.model_dump(mode="json"))
        content = [values, depends.code_digest(), self.corpus.digest, self.corpus.labels]
        return KEPT / f"{hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]}.json"

    def history(self) -> History:
        """The measured epochs, the first with the figures of the start, too; trained if that has not been
        done.
        """
        if not self.result.is_file():
            folder = Path(tempfile.mkdtemp())
            try:
                rows = followed(
                    self.params, as_feature_file(self.corpus.file, folder, labels=self.corpus.labels), folder
                )
            finally:
                shutil.rmtree(folder)
            self.result.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(self.result) as temporary:
                temporary.write_text(json.dumps(rows))
        kept: History = json.loads(self.result.read_text())
        return kept


def followed(params: Params, file: FeatureFile, folder: Path) -> History:
    """Train, with the GMAP of the queries at the start and whenever the training is measured."""
    hold_out_validation(
        file,
        share=params.corpus.split.validation,
        groups=params.corpus.split.validation_groups,
        seed=params.seed,
    )
    session = training_session(params, file)
    follow_queries(session, params)
    rows: History = []
    warm = train_warmup(session, params, folder / "warmup", lambda row, seconds: rows.append(row))
    train_rounds(session, params, warm, folder, lambda row, seconds: rows.append(row))
    wanted = {f"{start}{name}" for start in ("", "start_") for name in (*OF_START, QUERY_GMAP)}
    measured = [row for row in rows if QUERY_GMAP in row]
    begun = {name: value for name, value in rows[0].items() if name.startswith("start_")}
    return [
        {
            name: value
            for name, value in {**row, **(begun if row is measured[0] else {})}.items()
            if name in {*wanted, "epoch"}
        }
        for row in measured
    ]


def follow_queries(session: TrainingSession, params: Params) -> None:
    """Add the GMAP of the queries to what the session measures."""
    initialize, measure = session.initialize, session.measure

    def gmap(trainer: Trainer) -> float:
        hasher, file = trainer.model.hasher.eval(), session.file
        query, database = (
            video_set(params, hasher, file, file.rows(*splits))
            for splits in (params.evaluate.query, params.evaluate.database)
        )
        return evaluate_codes(
            query.codes,
            database.codes,
            query.labels,
            database.labels,
            query.ids,
            database.ids,
            exclude_self=params.evaluate.exclude_self,
        ).gmap

    def initialize_and_follow(trainer: Trainer) -> dict[str, float]:
        figures = initialize(trainer)
        return {**figures, f"start_{QUERY_GMAP}": gmap(trainer)}

    def measure_and_follow(trainer: Trainer) -> dict[str, float]:
        figures = measure(trainer)
        return {**figures, QUERY_GMAP: gmap(trainer)}

    session.initialize = initialize_and_follow  # type: ignore[method-assign]
    session.measure = measure_and_follow  # type: ignore[method-assign]


def gmaps(history: History) -> dict[str, float]:
    """GMAP of the queries of what each way of selecting takes, and of the start and the best epochs."""
    start, end = history[0][f"start_{QUERY_GMAP}"], history[-1][QUERY_GMAP]
    found = {"start": start}
    for way in SELECTING:
        found[way] = start if select_state(history, way).state == "start" else end
    for name, figure in (
        ("best epoch by labels", VALIDATION_GMAP),
        ("best epoch by score", LABEL_FREE_SCORE),
    ):
        states = [(history[0][OF_START[figure]], start), *((row[figure], row[QUERY_GMAP]) for row in history)]
        found[name] = max(states)[1]
    return found


def summaries(done: Mapping[Training, History]) -> list[dict[str, Any]]:
    """Means over the trainings of a corpus and a length."""
    groups: dict[tuple[str, int], list[dict[str, float]]] = {}
    for training, history in done.items():
        groups.setdefault((training.corpus.name, training.bits), []).append(gmaps(history))
    return [
        {
            "corpus": corpus,
            "bits": bits,
            "trainings": len(found),
            "mean_gmap": {name: float(np.mean([one[name] for one in found])) for name in found[0]},
        }
        for (corpus, bits), found in groups.items()
    ]


def row(training: Training, history: History) -> list[str]:
    """A training in the table."""
    cells = [training.corpus.name, str(training.bits), str(training.seed), training.way]
    for figure in (QUERY_GMAP, VALIDATION_GMAP, LABEL_FREE_SCORE):
        cells.append(f"{history[0][f'start_{figure}']:.4f} to {history[-1][figure]:.4f}")
    return [*cells, *(select_state(history, way).state for way in SELECTING[1:])]


def show(done: Mapping[Training, History], means: Sequence[Mapping[str, Any]]) -> None:
    """Print both tables."""
    trainings = Table("corpus", "bits", "seed", "way", "GMAP", "validation GMAP", "score", *SELECTING[1:])
    for training, history in done.items():
        trainings.add_row(*row(training, history))
    names = list(means[0]["mean_gmap"])
    selected = Table("corpus", "bits", "trainings", *names)
    for one in means:
        counts = (one["corpus"], str(one["bits"]), str(one["trainings"]))
        selected.add_row(*counts, *(f"{one['mean_gmap'][name]:.4f}" for name in names))
    console = Console()
    for table in (trainings, selected):
        (console if console.is_terminal else Console(width=140)).print(table)


def main() -> None:
    """Parse the command line, run, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", action="append", default=[], metavar="NAME=FILE", dest="corpora")
    parser.add_argument("--bits", type=int, nargs="+", default=[64])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--ways", nargs="+", default=TRIED, choices=sorted(WAYS.keys() - {"random"}))
    parser.add_argument("--name", default="selection", help="of the file in benchmarks/results")
    arguments = parser.parse_args()
    corpora = [Corpus.of(text) for text in arguments.corpora or ["features=data/features/features.h5"]]
    done: dict[Training, History] = {}
    for corpus in corpora:
        for bits in arguments.bits:
            for seed in arguments.seeds:
                for way in arguments.ways:
                    training = Training(corpus, bits, seed, way)
                    done[training] = training.history()
                    print(", ".join(row(training, done[training])), flush=True)
    means = summaries(done)
    trainings = [
        {"corpus": one.corpus.name, "bits": one.bits, "seed": one.seed, "way": one.way, "measured": history}
        for one, history in done.items()
    ]
    write_result(arguments.name, {"torch": torch.__version__, "selected": means, "trainings": trainings})
    show(done, means)


if __name__ == "__main__":
    main()
