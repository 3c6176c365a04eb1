"""How well `ssvh duplicates` finds re-uploads: precision and recall over the radius, on the demo corpus and
on milder distortions.

    python benchmarks/duplicates.py
    python benchmarks/duplicates.py --strengths 0.1 0.2

Needs `make run`. The truth is which clips were made from one recording (the manifest's groups): a pair of
videos that `ssvh duplicates` puts into one group counts as found; "pairs" leaves out the chains that groups
make. Beside it stand float features at the similarity where they find as many pairs as there are, which tells
how hard the distortions are. The strengths are corpora that are rendered for this, with two uploads of each
recording, without planted bad frames, and encoded with the same hasher.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from machine import machine, processor_seconds, write_result  # isort: skip  (before torch)

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from trained_index import make_trained_index

from ssvh_model.copies.contradiction import joint_scores
from ssvh_model.copies.groups import consistent_groups, in_one_group
from ssvh_model.copies.verify import verify
from ssvh_model.corpus.arcade import render_arcade
from ssvh_model.corpus.arcade_plan import ArcadeSpec
from ssvh_model.features import FeatureFile
from ssvh_model.index.duplicates import duplicate_groups, duplicate_pairs
from ssvh_model.index.snapshot import open_snapshot
from ssvh_model.index.video_encoder import VideoEncoder, backbone_of
from ssvh_model.model.hasher_file import load_saved_hasher
from ssvh_model.progress import no_progress
from ssvh_model.retrieval.hamming import as_words, hamming_distances
from ssvh_model.training.encoded import mean_features
from ssvh_model.video.extraction import extract_features
from tasks import paths
from tasks.machine.device import pick_workers
from tasks.machine.progress import ShownProgress
from tasks.params.load import load_params
from tasks.params.sections import Params

RADII = (0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24)
VERIFIED_RADII = (3, 12, 16, 20, 24)
LEAST = (0.5, 0.6, 0.7, 0.8, 0.9)  # scores from which on `ssvh duplicates --verify` counts a pair


def figures(found: np.ndarray, true: np.ndarray) -> dict[str, float | int | None]:
    """Precision and recall of pairs: [n, n] bool, of which the upper triangle counts."""
    upper = np.triu_indices(len(true), 1)
    found, true = found[upper], true[upper]
    right = int((found & true).sum())
    return {
        "pairs": int(found.sum()),
        "precision": round(right / int(found.sum()), 4) if found.any() else None,
        "recall": round(right / int(true.sum()), 4),
    }


def of_groups(groups: list[np.ndarray], videos: int) -> np.ndarray:
    """Which pairs are in one group, [n, n] bool."""
    together = np.zeros((videos, videos), dtype=bool)
    for group in groups:
        together[np.ix_(group, group)] = True
    return together


def curve(words: np.ndarray, features: np.ndarray, recordings: np.ndarray) -> dict[str, Any]:
    """Figures by radius, and those of float features.

    Args:
        words: codes, [n, words] uint64.
        features: averaged over frames, [n, D] float32.
        recordings: what each video was made from, [n]; "" for none.
    """
    true = (recordings[:, None] == recordings) & (recordings != "")
    distances = hamming_distances(words, words)
    results: list[dict[str, Any]] = []
    for radius in RADII:
        grouped = of_groups(duplicate_groups(words, radius=radius), len(words))
        for how, found in (("groups", grouped), ("pairs", distances <= radius)):
            results.append({"radius": radius, "what": how, **figures(found, true)})
    features = features - features.mean(axis=0)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    similarity = features @ features.T
    upper = np.triu_indices(len(words), 1)
    pairs = int(true[upper].sum())
    least = np.sort(similarity[upper])[-pairs]
    same, other = distances[upper][true[upper]], distances[upper][~true[upper]]
    return {
        "videos": len(words),
        "true_pairs": pairs,
        "median_bits_apart": {"same recording": float(np.median(same)), "others": float(np.median(other))},
        "radii": results,
        "float_features": figures(similarity >= least, true),
    }


def verified(words: np.ndarray, paths: list[str], recordings: np.ndarray) -> list[dict[str, Any]]:
    """Figures of `ssvh duplicates --verify` by radius and least score.

    Args:
        words, recordings: as for `curve`.
        paths: of the videos.
    """
    true = (recordings[:, None] == recordings) & (recordings != "")
    distances = hamming_distances(words, words)
    pairs = duplicate_pairs(words, radius=max(VERIFIED_RADII))
    started = processor_seconds()
    compared = verify(pairs, paths.__getitem__, progress=ShownProgress("pairs", print))
    seconds = processor_seconds() - started
    near_enough = distances[pairs[:, 0], pairs[:, 1]]
    rows = []
    for radius, least in itertools.product(VERIFIED_RADII, LEAST):
        within = near_enough <= radius
        near = pairs[within]
        scores = joint_scores(near, compared.scores[within])
        found = np.zeros(true.shape, dtype=bool)
        found[tuple(near[found_pairs(near, scores, least=least, videos=len(words))].T)] = True
        rows.append({"radius": radius, "what": f"verified, {least}", **figures(found, true)})
    print(f"{1000 * seconds / max(1, len(pairs)):.0f} ms of one core a pair, decoding included")
    return rows


def found_pairs(pairs: np.ndarray, scores: np.ndarray, *, least: float, videos: int) -> np.ndarray:
    """Which of the compared pairs `ssvh duplicates --verify` lists, [pairs] bool."""
    none = np.empty((0, 2), dtype=np.int64)
    groups = consistent_groups(pairs, scores, least=least, same=none, videos=videos)
    return (scores >= least) & np.array(in_one_group(pairs.tolist(), groups), dtype=bool)


def rendered(strength: float, clips: int, encoder: VideoEncoder, params: Params) -> dict[str, Any]:
    """The same for a corpus of its own, of this distortion."""
    arcade = {**params.corpus.arcade.model_dump(), "distortion": strength, "clips": clips, "bad_frames": 0.0}
    spec, workers = ArcadeSpec(**{**arcade, "reuploads": 2}), pick_workers(params.running.workers)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        videos = render_arcade(spec, folder, seed=params.seed, workers=workers, progress=no_progress)
        extract_features(
            [replace(video, split="database") for video in videos],
            folder,
            backbone_of(encoder.features, torch.device("cpu")),
            frames=encoder.hasher.config.frames,
            batch_size=params.features.batch_size,
            thumbnail=16,
            folder=folder / "features",
            workers=workers,
            progress=no_progress,
        )
        file = FeatureFile(folder / "features" / "features.h5")
        every = np.arange(len(file))
        words = as_words(encoder.codes_of(file.read(every).numpy()))
        recordings = np.array(file.groups)
        found = curve(words, mean_features(file, every), recordings)
        path_of = {video.id: str(folder / video.path) for video in videos}
        paths = [path_of[video] for video in file.ids]
        found["radii"] += verified(words, paths, recordings)
        return found


def show(name: str, found: dict[str, Any]) -> None:
    table = Table("radius", "what", "pairs", "precision", "recall", title=name)
    for row in found["radii"]:
        table.add_row(*("-" if value is None else str(value) for value in row.values()))
    Console(width=80).print(table)
    print(f"median bits apart: {found['median_bits_apart']}")
    likeness = found["float_features"]["recall"]
    print(
        f"float features, the {found['true_pairs']} most alike pairs: precision = recall = {likeness}",
        flush=True,
    )


def main() -> None:
    """Parse the command line, measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--strengths", type=float, nargs="*", default=[0.0, 0.1, 0.2, 0.4])
    parser.add_argument("--clips", type=int, default=160, help="of each rendered corpus")
    parser.add_argument("--name", default="duplicates", help="of the file in benchmarks/results")
    arguments = parser.parse_args()
    params = load_params()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        snapshot, file = open_snapshot(make_trained_index(Path(name))), FeatureFile(paths.FEATURE_FILE)
        encoder = VideoEncoder(*load_saved_hasher(Path(name) / "hasher"))
        row_of = {video: row for row, video in enumerate(file.ids)}
        rows = np.array([row_of[video] for video in snapshot.ids()])
        recordings = np.array([file.groups[row] for row in rows])
        arcade = params.corpus.arcade
        whole = f"the demo corpus (distortion {arcade.distortion}, bad frames {arcade.bad_frames})"
        results[whole] = curve(snapshot.words, mean_features(file, rows), recordings)
    show(whole, results[whole])
    for strength in arguments.strengths:
        weaker = f"distortion {strength}, no bad frames"
        results[weaker] = rendered(strength, arguments.clips, encoder, params)
        show(weaker, results[weaker])
    write_result(
        arguments.name,
        {"bits": encoder.hasher.config.bits, "corpora": results, "machine": machine()},
    )


if __name__ == "__main__":
    main()
