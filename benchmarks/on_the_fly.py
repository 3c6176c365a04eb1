"""Features on the fly against stored ones: what they cost, and whether storing them as float16 costs quality.

    python benchmarks/on_the_fly.py
    python benchmarks/on_the_fly.py --data data --epochs 45

Needs the demo corpus with its clips (`make run`). Extracts every clip again and keeps float32, times that
beside reading stored features, trains once on either with the same seed, and once more on the stored ones
with the next seed, which tells what chance alone does. Rates are videos a second of processor time, which
other work on the machine changes little; with a GPU, of the clock.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from machine import IMAGES, best, machine, processor_seconds, write_result  # isort: skip  (before torch)

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from ssvh_model.features import FeatureFile
from ssvh_model.index.video_encoder import backbone_of
from ssvh_model.manifest import read_manifest
from ssvh_model.model.hasher import VideoHasher
from ssvh_model.pictures.style import BLUE, GREY, ORANGE, dress, heading, new_figure, save
from ssvh_model.retrieval.codes import sign_codes
from ssvh_model.retrieval.evaluation import evaluate_codes
from ssvh_model.training.checkpoint import load_hasher
from ssvh_model.training.frame_source import FrameSource
from ssvh_model.video.extraction import decode_for, prepared_for
from tasks.params.load import load_params
from tasks.params.sections import Params, Warmup
from tasks.training.both_phases import train_rounds, train_warmup
from tasks.training.settings import training_session


def shortened(params: Params, epochs: int) -> Params:
    """The warm-up and the first round only, of so many epochs together."""
    warmup = max(1, epochs // 3)
    first = params.rounds["1"].model_copy(update={"epochs": epochs - warmup})
    return params.model_copy(update={"warmup": Warmup(epochs=warmup), "rounds": {"1": first}})


def extract(file: FeatureFile, data: Path, params: Params) -> tuple[Tensor, dict[str, float]]:
    """Features [n, M, D] float32 of every video of the file, in its order, and the seconds of decoding and of
    the backbone.
    """
    backbone = backbone_of(file.meta, torch.device("cpu"))
    paths = {video.id: video.path for video in read_manifest(data / "features" / "manifest.csv")}
    features = torch.empty(file.shape)
    seconds = {"decoding": 0.0, "backbone": 0.0}
    for row, video in enumerate(file.ids):
        began = processor_seconds()
        sampled = decode_for(backbone, data / "corpus" / paths[video], frames=params.features.frames)
        decoded = processor_seconds()
        features[row] = backbone.features(prepared_for(backbone, sampled))
        seconds["decoding"] += decoded - began
        seconds["backbone"] += processor_seconds() - decoded
    return features, seconds


def source(file: FeatureFile, rows: np.ndarray, features: Tensor | None) -> FrameSource:
    """Stored features of some rows, or those that were extracted now."""
    ids = [file.ids[row] for row in rows]
    if features is None:
        return FrameSource.from_file(file, rows, memory_limit=0)
    return FrameSource.from_tensor(ids, features[torch.from_numpy(rows)])


def train(params: Params, file: FeatureFile, features: Tensor | None) -> tuple[VideoHasher, float]:
    """A hasher trained on stored features, or on those given, and its training videos a second."""
    session = training_session(params, file)
    if features is not None:
        session.videos = source(file, file.rows("train"), features)
    seconds: list[float] = []
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)

        last = [processor_seconds()]

        def watch(row: dict[str, Any], _: float) -> None:
            now = processor_seconds()
            seconds.append(now - last[0])
            last[0] = now

        state = train_warmup(session, params, folder / "warmup", watch)
        state = train_rounds(session, params, state, folder, watch)
        hasher = load_hasher(state).to(session.device)
    # The median leaves out the epochs that were measured, saved or clustered as well.
    return hasher, len(session.videos) / float(np.median(seconds))


def gmap_of(params: Params, file: FeatureFile, codes: np.ndarray) -> float:
    """GMAP of the queries among the database, codes in the file's order."""
    query, database = file.rows("query"), file.rows(*params.evaluate.database)
    return evaluate_codes(
        codes[query],
        codes[database],
        [file.labels[row] for row in query],
        [file.labels[row] for row in database],
        [file.ids[row] for row in query],
        [file.ids[row] for row in database],
        exclude_self=params.evaluate.exclude_self,
    ).gmap


def main() -> None:
    """Parse the command line, extract, train, print, draw and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, default=Path("data"), help="with corpus and features of the demo"
    )
    parser.add_argument(
        "--epochs", type=int, default=12, help="a third of them without clusters, the rest with"
    )
    parser.add_argument("--name", default="on_the_fly", help="of the file in benchmarks/results")
    arguments = parser.parse_args()
    params = shortened(load_params(), arguments.epochs)
    file = FeatureFile(arguments.data / "features" / "features.h5")
    every = np.arange(len(file))

    fresh, seconds = extract(file, arguments.data, params)
    stored = source(file, every, None)
    largest = (stored.fetch(every).float() - fresh).abs().max().item()
    print(f"extracted {len(every)} videos: {seconds}", flush=True)

    hashers: dict[str, VideoHasher] = {}
    speeds: dict[str, float] = {}
    next_seed = params.model_copy(update={"seed": params.seed + 1})
    for name, settings, features in (
        ("stored", params, None),
        ("float32", params, fresh),
        ("stored, next seed", next_seed, None),
    ):
        hashers[name], speeds[name] = train(settings, file, features)
        print(name, f"{speeds[name]:.1f} training videos a second", flush=True)

    session = training_session(params, file)
    codes = {
        f"trained on {name}, codes of {form}": sign_codes(session.encode(hasher, videos).numpy())
        for name, hasher in hashers.items()
        for form, videos in (("stored", stored), ("float32", source(file, every, fresh)))
    }
    rows = [{"what": name, "gmap": gmap_of(params, file, found)} for name, found in codes.items()]
    same_hasher = [codes["trained on stored, codes of stored"], codes["trained on stored, codes of float32"]]
    flipped = float((same_hasher[0] != same_hasher[1]).mean())

    reading = best(lambda: stored.fetch(every), repeats=5)["counted"]
    encoding = best(lambda: session.encode(hashers["stored"], source(file, every, fresh)), repeats=3)[
        "counted"
    ]
    extraction = sum(seconds.values())
    videos = len(every)
    rates = {
        "decoding": videos / seconds["decoding"],
        "backbone": videos / seconds["backbone"],
        "encoding from raw video": videos / (extraction + encoding),
        "encoding from stored features": videos / (reading + encoding),
        "training on stored features": speeds["stored"],
        "training with extraction in each epoch": 1 / (1 / speeds["stored"] + extraction / videos),
    }

    table = Table("videos a second", "")
    for name, rate in rates.items():
        table.add_row(name, f"{rate:.1f}")
    console = Console()
    console.print(table)
    table = Table("codes", "GMAP")
    for row in rows:
        table.add_row(str(row["what"]), f"{row['gmap']:.4f}")
    console.print(table)
    write_result(
        arguments.name,
        {
            "videos": videos,
            "frames": file.shape[1],
            "side": file.meta.size,
            "backbone": file.meta.backbone,
            "bits": params.model.bits,
            "epochs": params.warmup.epochs + sum(one.epochs for one in params.rounds.values()),
            "videos_a_processor_second": {name: round(rate, 2) for name, rate in rates.items()},
            "largest_difference_of_a_feature": largest,
            "share_of_bits_that_differ": flipped,
            "gmap": rows,
            "machine": machine(),
        },
    )
    draw(rates)


def draw(rates: dict[str, float]) -> None:
    """Videos a second, a bar each."""
    figure = new_figure(7.6, 3.4)
    heading(
        figure,
        "Features on the fly against stored ones",
        "Videos a second of processor time, on a logarithmic scale",
    )
    axes = figure.add_subplot()
    dress(axes, x="videos a second")
    names = list(rates)[::-1]
    colours = [ORANGE if "raw" in name or "extraction" in name else BLUE for name in names]
    bars = axes.barh(names, [rates[name] for name in names], color=colours)
    axes.bar_label(bars, [f"{rates[name]:,.1f}" for name in names], padding=4, fontsize=9, color=GREY)
    axes.set_xscale("log")
    axes.set_xlim(1, 3 * max(rates.values()))
    axes.grid(axis="y", visible=False)
    save(figure, IMAGES / "findings-on-the-fly.png")


if __name__ == "__main__":
    main()
