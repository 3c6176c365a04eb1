"""What the sampler picks: planted bad frames or good ones, and what its scores have to do with the pictures.

    python benchmarks/sampler_picks.py
    python benchmarks/sampler_picks.py --data data --epochs 12 --delta 0 0.1 1 10

Needs the demo corpus with its thumbnails (`make run`). Trains the warm-up once for each kind of sampler and
each noise level delta, since only the reconstruction loss, which the warm-up has, reaches Grade-Net. The
planted bad frames are known from the manifest. Everything is measured on the training videos: these are what
the sampler chooses from.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import IMAGES, machine, write_result
from rich.console import Console
from rich.table import Table

from ssvh_model.corpus.bad_frames import KINDS
from ssvh_model.features import FeatureFile
from ssvh_model.manifest import read_manifest
from ssvh_model.model.autossvh import AutoSSVH
from ssvh_model.pictures.style import BLUE, GREY, INK, ORANGE, PALE, dress, heading, new_figure, save
from ssvh_model.progress import no_progress
from ssvh_model.training.checkpoint import load_model
from ssvh_model.training.diagnostics import hidden_frame_errors, mean_rank_correlation
from ssvh_model.training.session import TrainingSession
from ssvh_model.video.thumbnails import Thumbnails
from tasks.params.load import load_params
from tasks.params.sections import Params
from tasks.training.settings import phase, training_session

GOOD = "good"
DRAWS = 256
ERROR_DRAWS = 16
VIDEOS_AT_ONCE = 64


def kinds_of_frames(file: FeatureFile, manifest: Path, rows: np.ndarray) -> np.ndarray:
    """What each sampled frame of some videos is: "good", or the kind of fault that was planted there, [n,
    M].
    """
    planted = {video.id: video.bad_frames for video in read_manifest(manifest)}
    return np.array(
        [[planted[file.ids[row]].get(int(index), GOOD) for index in file.frame_indices[row]] for row in rows]
    )


def picture_figures(thumbnails: Thumbnails, ids: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Sharpness and motion of each sampled frame, [n, M] each.

    Sharpness is the standard deviation of the Laplacian of the grey thumbnail. Motion is the mean absolute
    difference to the frames before and after, of 255.
    """
    sharpness, motion = [], []
    for video in ids:
        grey = np.stack([frame.astype(np.float32).mean(axis=2) for frame in thumbnails.frames(video)])
        middle = grey[:, 1:-1, 1:-1]
        laplacian = (
            grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:] - 4 * middle
        )
        sharpness.append(laplacian.std(axis=(1, 2)))
        steps = np.abs(np.diff(grey, axis=0)).mean(axis=(1, 2))
        before, after = np.r_[np.nan, steps], np.r_[steps, np.nan]
        motion.append(np.nanmean([before, after], axis=0))
    return np.array(sharpness), np.array(motion)


@torch.no_grad()
def look_at(model: AutoSSVH, session: TrainingSession) -> dict[str, np.ndarray]:
    """How often each frame of the training videos is shown, its score and its reconstruction error while
    hidden, [n, M] each.
    """
    generator = torch.Generator(device=session.device).manual_seed(0)
    found: dict[str, list[np.ndarray]] = {"shown": [], "score": [], "error": []}
    for start in range(0, len(session.videos), VIDEOS_AT_ONCE):
        rows = np.arange(start, min(start + VIDEOS_AT_ONCE, len(session.videos)))
        features = model.hasher.center(session.videos.fetch(rows).to(session.device).float())
        embedded = model.hasher.embed(features)
        shown = torch.stack(
            [model.select(embedded, reversal=0.0, generator=generator).weights for _ in range(DRAWS)]
        )
        found["shown"].append(shown.mean(dim=0).cpu().numpy())
        if model.grade_net is not None:
            found["score"].append(model.scores(embedded).cpu().numpy())
        errors = hidden_frame_errors(model, features, draws=ERROR_DRAWS, generator=generator)
        found["error"].append(errors.cpu().numpy())
    return {name: np.concatenate(parts) for name, parts in found.items() if parts}


def summary(
    looks: dict[str, np.ndarray], kinds: np.ndarray, sharpness: np.ndarray, motion: np.ndarray
) -> dict[str, Any]:
    """Selection rate and relative reconstruction error by kind of frame, and rank correlations of the score
    within a video.
    """
    error = looks["error"] / np.nanmean(looks["error"], axis=1, keepdims=True)
    rates = {kind: float(looks["shown"][kinds == kind].mean()) for kind in (GOOD, *KINDS)}
    rates["bad"] = float(looks["shown"][kinds != GOOD].mean())
    errors = {kind: float(np.nanmean(error[kinds == kind])) for kind in (GOOD, *KINDS)}
    correlations: dict[str, dict[str, float]] = {}
    if "score" in looks:
        figures = {"sharpness": sharpness, "motion": motion, "reconstruction error": looks["error"]}
        for name, values in figures.items():
            of_good = np.where(kinds == GOOD, values, np.nan)
            correlations[name] = {
                "all frames": mean_rank_correlation(looks["score"], values),
                "good frames only": mean_rank_correlation(looks["score"], of_good),
            }
    spread = float(looks["score"].std(axis=1).mean()) if "score" in looks else 0.0
    return {
        "selection_rate": rates,
        "relative_error": errors,
        "score_correlation": correlations,
        "score_spread": spread,
    }


def changed(params: Params, **sampler: Any) -> Params:
    return params.model_copy(update={"sampler": params.sampler.model_copy(update=sampler)})


def main() -> None:
    """Parse the command line, train, look, print, draw and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, default=Path("data"), help="with corpus and features of the demo"
    )
    parser.add_argument("--epochs", type=int, default=12, help="of each warm-up")
    parser.add_argument("--delta", type=float, nargs="+", default=[0.0, 0.1, 1.0, 10.0])
    parser.add_argument("--name", default="sampler_picks", help="of the file in benchmarks/results")
    arguments = parser.parse_args()
    params = load_params()
    folder = arguments.data / "features"
    file = FeatureFile(folder / "features.h5")
    train = file.rows("train")
    kinds = kinds_of_frames(file, folder / "manifest.csv", train)
    sharpness, motion = picture_figures(
        Thumbnails(folder / "thumbnails.h5"), [file.ids[row] for row in train]
    )

    plain = [("random", 0.0, params.sampler.gumbel)]
    noisy = [
        (kind, delta, params.sampler.gumbel)
        for kind in ("cooperative", "adversarial")
        for delta in arguments.delta
    ]
    # The Gumbel noise alone hides most of what the scores say; nearly without it, the sampler's wish shows.
    quiet = [("cooperative", 0.0, 0.1), ("adversarial", 0.0, 0.1)]
    rows: list[dict[str, Any]] = []
    for kind, delta, gumbel in [*plain, *noisy, *quiet]:
        session = training_session(changed(params, kind=kind, noise=delta, gumbel=gumbel), file)
        with tempfile.TemporaryDirectory() as work:
            began = time.perf_counter()
            state = session.run_phase(
                phase(params, "warmup", epochs=arguments.epochs),
                checkpoints=Path(work),
                on_epoch=lambda row, seconds: None,
                progress=no_progress,
            )
            seconds = time.perf_counter() - began
            looks = look_at(load_model(state).to(session.device), session)
        found = summary(looks, kinds, sharpness, motion)
        rows.append(
            {"sampler": kind, "delta": delta, "gumbel": gumbel, **found, "seconds": round(seconds, 1)}
        )
        print(rows[-1], flush=True)

    table = Table("sampler", "delta", "gumbel", GOOD, "bad", *KINDS, title="How often a frame is shown")
    for row in rows:
        rates = [f"{row['selection_rate'][name]:.3f}" for name in (GOOD, "bad", *KINDS)]
        table.add_row(row["sampler"], f"{row['delta']:g}", f"{row['gumbel']:g}", *rates)
    Console().print(table)
    write_result(
        arguments.name,
        {
            "videos": len(train),
            "frames": {kind: int((kinds == kind).sum()) for kind in (GOOD, *KINDS)},
            "visible_share": 1 - params.sampler.mask_ratio,
            "epochs": arguments.epochs,
            "seed": params.seed,
            "rows": rows,
            "machine": machine(),
        },
    )
    draw(rows)


def draw(rows: list[dict[str, Any]]) -> None:
    """Selection rates by kind of frame, one panel a sampler, one group of bars a noise level."""
    figure = new_figure(8.6, 5.6)
    heading(
        figure,
        "What the sampler shows to the encoder",
        "Share of draws in which a frame is shown, by what the frame is; the line is the share of all frames",
    )
    colours = {GOOD: BLUE, "black": INK, "static": ORANGE, "blurred": "#56B4E9", "duplicated": "#009E73"}
    for place, sampler in enumerate(("cooperative", "adversarial"), start=1):
        axes = figure.add_subplot(2, 1, place)
        dress(axes, title=sampler, y="shown")
        own = [row for row in rows if row["sampler"] == sampler]
        names = (GOOD, *KINDS)
        for number, name in enumerate(names):
            axes.bar(
                [spot + (number - 2.5) * 0.13 for spot in range(len(own))],
                [row["selection_rate"][name] for row in own],
                width=0.12,
                color=colours.get(name, "#CC79A7"),
                label=name,
            )
        total = next(row for row in rows if row["sampler"] == "random")["selection_rate"][GOOD]
        axes.axhline(total, color=GREY, linewidth=0.8)
        axes.set_xticks(range(len(own)), [f"delta {row['delta']:g}, gumbel {row['gumbel']:g}" for row in own])
        axes.tick_params(axis="x", length=0)
        axes.spines["bottom"].set_color(PALE)
        axes.set_ylim(0, 1)
        if place == 1:
            axes.legend(
                frameon=False, fontsize=9, labelcolor=GREY, ncols=6, loc="upper left", columnspacing=1.2
            )
    save(figure, IMAGES / "findings-sampler.png")


if __name__ == "__main__":
    main()
