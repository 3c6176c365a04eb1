"""How well the score without labels tells which trained states are good, and whether a training is better
than its start.

    python benchmarks/label_free.py --features data/features/features.h5 --name label_free-mine

Trains 64 bits in nine ways, good and bad ones, and prints for each the score (of the training videos) and
GMAP of the queries, which take no part in the score, at the start and at the end; then Spearman's correlation
of the two over all measured epochs, and how often the score says rightly whether an epoch is better than its
start, where GMAP differs by 5 % at least. Half an hour to an hour on one core.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Mapping, Sequence
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
from ssvh_model.training.agreement import some_rows
from ssvh_model.training.encoded import encode_rows
from ssvh_model.training.frame_source import FrameSource
from ssvh_model.training.label_free import Views, label_free_score, seen_by
from ssvh_model.training.trainer import Trainer
from tasks.params.presets import params_with_presets
from tasks.training.both_phases import train_rounds, train_warmup
from tasks.training.settings import training_session

# The first one's start is the reference of all.
WAYS: dict[str, dict[str, Any]] = {
    "default": {},
    "gamma0": {"losses.gamma": 0.0},
    "plain": {"model.whitening": 0.0, "model.within_video": None},
    "plain-gamma0-half": {
        "model.whitening": 0.0,
        "model.within_video": None,
        "losses.gamma": 0.0,
        "sampler.mask_ratio": 0.5,
    },
    "lr2e-5": {"training.learning_rate": 2.0e-5, "losses.gamma": 0.0},
    "alpha2": {"losses.alpha": 2.0, "losses.gamma": 0.0},
    "evened": {"model.whitening": 0.5, "model.within_video": 1.0},
    "noise0-beta0": {"model.code_noise": 0.0, "losses.beta": 0.0, "losses.gamma": 1.0},
    "random": {"model.start": "random", "losses.gamma": 0.0},
}
CLEAR = 0.05  # difference in GMAP from which on the score is asked

State = dict[str, float]


class Follower:
    """Measures a training at its start and whenever it is validated."""

    def __init__(
        self, file: FeatureFile, changes: Mapping[str, Any], seed: int, reference: Views | None
    ) -> None:
        self.params = params_with_presets([], changes={"seed": seed, **changes})
        self.session = training_session(self.params, file)
        self.reference = reference
        self.states: list[State] = []
        self._file = file
        self._query = file.rows("query")
        splits = ("train", "validation", "database")
        self._database = np.sort(np.concatenate([file.rows(split) for split in splits]))
        train = file.rows("train")
        self._videos = FrameSource.from_file(file, train[some_rows(len(train))], memory_limit=0)

    def train(self, folder: Path) -> list[State]:
        """All measured states, the start first."""
        initialize, measure = self.session.initialize, self.session.measure

        def initialize_and_follow(trainer: Trainer) -> dict[str, float]:
            figures = initialize(trainer)
            measure(trainer)  # learns the compression of longer codes
            if self.reference is None:
                self.reference = self._seen(trainer, compressed=False)
            self._add(trainer)
            return figures

        def measure_and_follow(trainer: Trainer) -> dict[str, float]:
            figures = measure(trainer)
            self._add(trainer)
            return figures

        self.session.initialize = initialize_and_follow  # type: ignore[method-assign]
        self.session.measure = measure_and_follow  # type: ignore[method-assign]
        warm = train_warmup(self.session, self.params, folder / "warmup", lambda row, seconds: None)
        train_rounds(self.session, self.params, warm, folder, lambda row, seconds: None)
        return self.states

    def _seen(self, trainer: Trainer, *, compressed: bool) -> Views:
        batch = self.params.training.batch_size
        hasher = trainer.model.hasher
        return seen_by(
            hasher, self._videos, batch_size=batch, device=self.session.device, compressed=compressed
        )

    def _add(self, trainer: Trainer) -> None:
        assert self.reference is not None
        hasher = trainer.model.hasher.eval()
        query, database = (
            encode_rows(
                hasher,
                self._file,
                rows,
                batch_size=self.params.training.batch_size,
                device=self.session.device,
            )
            for rows in (self._query, self._database)
        )
        gmap = evaluate_codes(
            query.codes,
            database.codes,
            query.labels,
            database.labels,
            query.ids,
            database.ids,
            exclude_self=True,
        ).gmap
        codes = self._seen(trainer, compressed=True).codes()
        score = label_free_score(codes, self.reference, seed=self.params.seed)
        self.states.append({"epoch": trainer.epoch, "gmap": gmap, "score": score})


def summary(ways: Mapping[str, Sequence[State]]) -> dict[str, Any]:
    """What the table's foot says."""
    states = [state for one in ways.values() for state in one]
    asked = [
        (state["score"] > one[0]["score"]) == (state["gmap"] > one[0]["gmap"])
        for one in ways.values()
        for state in one[1:]
        if abs(np.log(state["gmap"] / one[0]["gmap"])) > CLEAR
    ]
    better = [one[-1] if one[-1]["score"] > one[0]["score"] else one[0] for one in ways.values()]
    figures = zip(*((one[0], one[-1]) for one in ways.values()), strict=True)
    start, end = (float(np.mean([state["gmap"] for state in side])) for side in figures)
    return {
        "states": len(states),
        "correlation": float(
            spearmanr([state["score"] for state in states], [state["gmap"] for state in states])[0]
        ),
        "asked": len(asked),
        "right": int(sum(asked)),
        "mean_gmap": {
            "start": start,
            "end": end,
            "the better by score": float(np.mean([state["gmap"] for state in better])),
        },
    }


def table(ways: Mapping[str, Sequence[State]]) -> Table:
    """A row a way of training."""
    made = Table("way", "GMAP at the start", "at the end", "score at the start", "at the end")
    for name, states in ways.items():
        values = [state[figure] for figure in ("gmap", "score") for state in (states[0], states[-1])]
        made.add_row(name, *(f"{value:.4f}" for value in values))
    return made


def main() -> None:
    """Parse the command line, run, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--features", type=Path, default=Path("data/features/features.h5"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--name", default="label_free", help="of the file in benchmarks/results")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    ways: dict[str, list[State]] = {}
    try:
        file = as_feature_file(arguments.features, folder)
        reference: Views | None = None
        for name, changes in WAYS.items():
            follower = Follower(file, changes, arguments.seed, reference)
            ways[name] = follower.train(folder / name)
            reference = follower.reference
            print(f"{name}: GMAP {ways[name][0]['gmap']:.4f} to {ways[name][-1]['gmap']:.4f}", flush=True)
    finally:
        shutil.rmtree(folder)
    found = summary(ways)
    write_result(
        arguments.name,
        {"features": arguments.features.name, "torch": torch.__version__, **found, "ways": ways},
    )
    console = Console()
    (console if console.is_terminal else Console(width=120)).print(table(ways))
    print(
        f"{found['states']} states: correlation {found['correlation']:.2f}; better than its start or not: "
        f"right {found['right']} of {found['asked']} times"
    )


if __name__ == "__main__":
    main()
