"""The weights with which `ssvh duplicates --verify` scores a pair, fitted on demo corpora that nothing else
is judged on.

    python benchmarks/copy_weights.py

Corpora of other seeds than params.yaml's are rendered, with two uploads of each recording and no planted bad
frames. All pairs from one recording stand against pairs of other recordings of the same game, the hardest
there are. A logistic regression on three figures of the comparison gives the weights; they go into
`ssvh_model/copies/compare.py` by hand. Each game is also scored with weights from the other games, which says
what to expect of games that were not seen.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from pathlib import Path
from typing import Any

from machine import machine, write_result  # isort: skip  (before torch)

import numpy as np

from ssvh_model.copies.compare import compare
from ssvh_model.copies.compared_frames import read_frames
from ssvh_model.copies.placement import PlacedVideo
from ssvh_model.corpus.arcade import render_arcade
from ssvh_model.corpus.arcade_plan import ArcadeSpec
from ssvh_model.manifest import Video
from ssvh_model.progress import no_progress
from tasks.machine.device import pick_workers
from tasks.params.load import load_params

SEEDS = 2  # corpora of each strength: of one seed alone, 16 games, the weights hang on which games they are
OTHERS = 6  # pairs of other recordings for each pair of one
RIDGE = 1.0
FOLDS = 4
LEAST = (0.5, 0.6, 0.7, 0.8, 0.9)  # scores from which on a pair counts


def pairs_of(videos: list[Video], rng: np.random.Generator) -> list[tuple[int, int, bool]]:
    """Two rows, and whether they are of one recording."""
    alike = [
        (first, second)
        for first, second in itertools.combinations(range(len(videos)), 2)
        if videos[first].labels == videos[second].labels
    ]
    same = [pair for pair in alike if videos[pair[0]].group == videos[pair[1]].group]
    others = [pair for pair in alike if videos[pair[0]].group != videos[pair[1]].group]
    chosen = rng.permutation(len(others))[: OTHERS * len(same)]
    return [(*pair, True) for pair in same] + [(*others[which], False) for which in chosen]


def measured(strength: float, clips: int, seed: int) -> tuple[list[list[float]], list[bool], list[str]]:
    """Line, picture and distinct (see `Match`) of each pair, whether it is of one recording, and its game."""
    params = load_params()
    arcade = {**params.corpus.arcade.model_dump(), "distortion": strength, "clips": clips, "bad_frames": 0.0}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        videos = render_arcade(
            ArcadeSpec(**{**arcade, "reuploads": 2}),
            folder,
            seed=seed,
            workers=pick_workers(params.running.workers),
            progress=no_progress,
        )
        frames = [PlacedVideo(read_frames(folder / video.path)) for video in videos]
    figures, truth, games = [], [], []
    for first, second, same in pairs_of(videos, np.random.default_rng(seed)):
        match = compare(frames[first], frames[second])
        figures.append([match.line, match.picture, match.distinct])
        truth.append(same)
        games.append(videos[first].labels[0])
    return figures, truth, games


def fitted(figures: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Weights of a logistic regression, the last one the constant, by Newton's method."""
    rows = np.column_stack([figures, np.ones(len(figures))])
    weights = np.zeros(rows.shape[1])
    ridge = np.diag([RIDGE] * (len(weights) - 1) + [0.0])
    for _ in range(50):
        likely = 1 / (1 + np.exp(-rows @ weights))
        slope = rows.T @ (likely - truth) + ridge @ weights
        bend = (rows * (likely * (1 - likely))[:, None]).T @ rows + ridge
        weights -= np.linalg.solve(bend, slope)
    return weights


def main() -> None:
    """Parse the command line, measure, fit, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--strengths", type=float, nargs="*", default=[0.1, 0.2, 0.4])
    parser.add_argument("--clips", type=int, default=160, help="of each rendered corpus")
    arguments = parser.parse_args()
    seeds = [load_params().seed + 1000 * number for number in range(1, SEEDS + 1)]
    results: dict[str, Any] = {"seeds": seeds, "clips": arguments.clips}
    corpora = list(itertools.product(arguments.strengths, seeds))
    parts = [measured(strength, arguments.clips, seed) for strength, seed in corpora]
    figures = np.array([row for part in parts for row in part[0]])
    truth = np.array([one for part in parts for one in part[1]], dtype=float)
    games = np.array([one for part in parts for one in part[2]])
    strengths = np.repeat([strength for strength, _ in corpora], [len(part[1]) for part in parts])
    folds = np.searchsorted(np.unique(games), games) % FOLDS
    scores = np.zeros(len(truth))
    for fold in range(FOLDS):
        weights = fitted(figures[folds != fold], truth[folds != fold])
        scores[folds == fold] = np.column_stack([figures, np.ones(len(figures))])[folds == fold] @ weights
    results["unseen games"] = []
    for strength, least in itertools.product(arguments.strengths, LEAST):
        of, found = strengths == strength, 1 / (1 + np.exp(-scores)) >= least
        right = int((found & of & (truth > 0)).sum())
        row = {
            "distortion": strength,
            "least": least,
            "pairs of one recording": int(truth[of].sum()),
            "pairs of others": int((1 - truth[of]).sum()),
            "precision": round(right / max(1, int((found & of).sum())), 3),
            "recall": round(right / int(truth[of].sum()), 3),
        }
        results["unseen games"].append(row)
        print(row, flush=True)
    line, picture, distinct, bias = fitted(figures, truth).tolist()
    results["weights"] = {
        "LINE_WEIGHT": round(line, 1),
        "PICTURE_WEIGHT": round(picture, 1),
        "DISTINCT_WEIGHT": round(distinct, 2),
        "BIAS": round(bias, 1),
    }
    print(results["weights"])
    write_result("copy_weights", {**results, "machine": machine()})


if __name__ == "__main__":
    main()
