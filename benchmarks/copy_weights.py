"""The weights with which `ssvh duplicates --verify` scores a pair, fitted on demo corpora that nothing else
is judged on.

    python benchmarks/copy_weights.py

Corpora of other seeds and other games than params.yaml's are rendered, with two uploads of each recording and
no planted bad frames. Of each game all pairs are compared: other recordings of the same game are the hardest
there are. A logistic regression on four figures of the comparison gives the weights of a pair alone, which go
into `ssvh_model/copies/compare.py` by hand. A second one, on that and on what third videos say, gives those
of `ssvh_model/copies/contradiction.py`. How much third videos say hangs on how many recordings have copies,
so it is fitted on three shares of them at once: all recordings, half of them, and one of each game; of the
others one upload is left out.

Each game is also scored with weights from the other games, which says what to expect of games that were not
seen. The default of `--least` is the least score of those listed from which on 95% of the pairs were right
there, at each strength and each share.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import machine, write_result  # isort: skip  (before torch)

import numpy as np
import torch
from duplicates import found_pairs

from ssvh_model.copies.compare import compare
from ssvh_model.copies.compared_frames import read_frames
from ssvh_model.copies.contradiction import contradictions
from ssvh_model.copies.placement import PlacedVideo
from ssvh_model.copies.threshold import PRECISION
from ssvh_model.corpus.arcade import render_arcade
from ssvh_model.corpus.arcade_plan import ArcadeSpec, plan_arcade
from ssvh_model.corpus.processes import in_processes
from ssvh_model.progress import no_progress
from tasks.machine.device import pick_workers
from tasks.params.load import load_params

SEEDS = 2  # corpora of each strength: of one seed alone, 16 games, the weights hang on which games they are
SHARES = ("all", "half", "one of each game")  # of the recordings that have a copy
RIDGE = 1.0
FOLDS = 6
LEAST = (0.5, 0.6, 0.7, 0.8, 0.9)  # scores from which on a pair counts


@dataclass(frozen=True)
class Pairs:
    """All pairs of videos of one game, of one corpus.

    Attributes:
        strength: of the distortion.
        share: of the recordings that have a copy, one of `SHARES`.
        rows: of the videos, [n, 2] int64.
        figures: line, picture, distinct (see `Match`) and change of speed in octaves, [n, 4].
        same: whether they show one recording, [n] float, 0 or 1.
        games: of each pair, [n].
    """

    strength: float
    share: str
    rows: np.ndarray
    figures: np.ndarray
    same: np.ndarray
    games: np.ndarray

    def with_copies(self, share: str, rng: np.random.Generator) -> Pairs:
        """The same without one upload of some recordings."""
        gone: set[int] = set()
        for game in np.unique(self.games):
            uploads = self.rows[(self.same > 0) & (self.games == game)]
            kept = len(uploads) // 2 if share == "half" else 1
            gone |= {int(rng.choice(rows)) for rows in uploads[rng.permutation(len(uploads))[kept:]]}
        there = ~np.isin(self.rows, list(gone)).any(axis=1)
        columns = (part[there] for part in (self.rows, self.figures, self.same, self.games))
        return Pairs(self.strength, share, *columns)


def measured(job: tuple[float, int, int]) -> Pairs:
    """The pairs of one corpus, by its distortion, how many clips it has and its seed."""
    strength, clips, seed = job
    torch.set_num_threads(1)
    params = load_params()
    arcade = {**params.corpus.arcade.model_dump(), "distortion": strength, "clips": clips, "bad_frames": 0.0}
    spec = ArcadeSpec(**{**arcade, "reuploads": 2})
    judged = {plan.game for plan in plan_arcade(spec, params.seed)}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        every = render_arcade(spec, folder, seed=seed, workers=1, progress=no_progress)
        videos = [video for video in every if video.labels[0] not in judged]
        frames = [PlacedVideo(read_frames(folder / video.path)) for video in videos]
    rows, figures, same, games = [], [], [], []
    for first, second in itertools.combinations(range(len(videos)), 2):
        if videos[first].labels == videos[second].labels:
            match = compare(frames[first], frames[second])
            rows.append((first, second))
            figures.append((match.line, match.picture, match.distinct, abs(np.log2(match.speed))))
            same.append(float(videos[first].group == videos[second].group))
            games.append(videos[first].labels[0])
    return Pairs(strength, "all", np.array(rows), np.array(figures), np.array(same), np.array(games))


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


def odds(figures: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Log odds of pairs, [n]."""
    return np.column_stack([figures, np.ones(len(figures))]) @ weights


def joint_figures(pairs: Pairs, alone: np.ndarray) -> np.ndarray:
    """What the joint score is made of, [n, 2], from the log odds of pairs alone."""
    strongest, _ = contradictions(pairs.rows, 1 / (1 + np.exp(-alone)))
    return np.column_stack([alone, strongest])


def both_fits(
    corpora: Sequence[Pairs], every: Sequence[Pairs], counts: Callable[[Pairs], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Weights of pairs alone, from corpora in which all have copies, and of the joint score, from `every`.

    Args:
        counts: which of the pairs count, [n] bool.
    """
    alone = fitted(
        np.concatenate([pairs.figures[counts(pairs)] for pairs in corpora]),
        np.concatenate([pairs.same[counts(pairs)] for pairs in corpora]),
    )
    figures = [joint_figures(pairs, odds(pairs.figures, alone))[counts(pairs)] for pairs in every]
    same = [pairs.same[counts(pairs)] for pairs in every]
    return alone, fitted(np.concatenate(figures), np.concatenate(same))


def unseen(corpora: Sequence[Pairs], every: Sequence[Pairs]) -> list[dict[str, Any]]:
    """Precision and recall in games that the weights were not fitted on."""
    games = np.unique(np.concatenate([pairs.games for pairs in every]))

    def fold(pairs: Pairs) -> np.ndarray:
        return np.searchsorted(games, pairs.games) % FOLDS

    scores = [np.zeros(len(pairs.same)) for pairs in every]
    for number in range(FOLDS):
        alone, joint = both_fits(corpora, every, lambda pairs, number=number: fold(pairs) != number)
        for pairs, of in zip(every, scores, strict=True):
            figures = joint_figures(pairs, odds(pairs.figures, alone))
            of[fold(pairs) == number] = odds(figures, joint)[fold(pairs) == number]
    rows = []
    for strength, share, least in itertools.product(
        dict.fromkeys(pairs.strength for pairs in every), SHARES, LEAST
    ):
        found = right = true = 0
        for pairs, of in zip(every, scores, strict=True):
            if (pairs.strength, pairs.share) == (strength, share):
                kept = found_pairs(
                    pairs.rows, 1 / (1 + np.exp(-of)), least=least, videos=pairs.rows.max() + 1
                )
                found, right = found + int(kept.sum()), right + int(pairs.same[kept].sum())
                true += int(pairs.same.sum())
        precision = round(right / found, 3) if found else None
        row = {"distortion": strength, "copies": share, "least": least, "pairs of one recording": true}
        rows.append({**row, "precision": precision, "recall": round(right / true, 3)})
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Parse the command line, measure, fit, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--strengths", type=float, nargs="*", default=[0.1, 0.4])
    parser.add_argument("--clips", type=int, default=160, help="of each rendered corpus")
    arguments = parser.parse_args()
    params = load_params()
    seeds = [params.seed + 1000 * number for number in range(1, SEEDS + 1)]
    jobs = [(strength, arguments.clips, seed) for strength in arguments.strengths for seed in seeds]
    done = in_processes(measured, jobs, workers=pick_workers(params.running.workers))
    corpora = sorted(done, key=lambda pairs: (pairs.strength, pairs.games.tolist()))
    rng = np.random.default_rng(params.seed)
    every = [*corpora, *(pairs.with_copies(share, rng) for share in SHARES[1:] for pairs in corpora)]
    rows = unseen(corpora, every)
    alone, joint = both_fits(corpora, every, lambda pairs: np.ones(len(pairs.same), dtype=bool))
    names = ("LINE_WEIGHT", "PICTURE_WEIGHT", "DISTINCT_WEIGHT", "SPEED_WEIGHT", "BIAS")
    results: dict[str, Any] = {"seeds": seeds, "clips": arguments.clips, "unseen games": rows}
    results["compare"] = dict(zip(names, alone.round(2).tolist(), strict=True))
    names = ("ALONE_WEIGHT", "CONTRADICTION_WEIGHT", "BIAS")
    results["contradiction"] = dict(zip(names, joint.round(2).tolist(), strict=True))
    enough = [
        least
        for least in LEAST
        if all((row["precision"] or 0.0) >= PRECISION for row in rows if row["least"] == least)
    ]
    results["least"] = min(enough, default=None)
    print(results["compare"], results["contradiction"], f"least: {results['least']}")
    write_result("copy_weights", {**results, "machine": machine()})


if __name__ == "__main__":
    main()
