"""What the clustering refresh costs as the training set grows, as a share of an epoch.

    python benchmarks/clustering_cost.py
    python benchmarks/clustering_cost.py --videos 10000 100000 --counts 250

Clusters made-up soft codes of 10^4 to 10^7 videos with the settings of params.yaml (iterations, restarts,
points a centroid), once as a round begins and once more as it goes on, from these clusters after the codes
have drifted, and times a training epoch and the encoding in the same run. A refresh is the encoding and the
later clustering for all counts; its share is of the epochs until the next one. An epoch of N videos is N /
(training videos a second): that is the only figure that is extrapolated. Shares compare seconds of processor
time, which other work on the machine changes little; with a GPU, seconds of the clock. Two networks are
timed: the one of params.yaml on features of 1280 numbers, and the paper's encoder of 12 layers on features of
4096. 10^7 codes of 64 bits take about 8 GB of memory.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from machine import IMAGES, best, machine, timed, write_result  # isort: skip  (before torch)

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from ssvh_model.clustering.anchors import Granularity, make_anchors
from ssvh_model.features import FeatureFile, FeatureMeta, write_feature_file
from ssvh_model.pictures.style import BLUE, GREY, ORANGE, dress, heading, new_figure, save
from ssvh_model.training.frame_source import FrameSource
from tasks.params.load import load_params
from tasks.params.sections import Params
from tasks.training.settings import training_session

CHUNK = 1 << 18
PROTOTYPES = 2000  # kinds of videos among the made-up codes
DRIFT = 0.2


def soft_codes(videos: int, bits: int, *, frames: int, seed: int) -> Tensor:
    """Made-up soft codes [videos, bits]: means of `frames` signs, around prototypes, as many videos a
    prototype as it happens.
    """
    generator = torch.Generator().manual_seed(seed)
    prototypes = torch.randn(PROTOTYPES, bits, generator=generator)
    codes = torch.empty(videos, bits)
    for start in range(0, videos, CHUNK):
        part = codes[start : start + CHUNK]
        kinds = torch.randint(PROTOTYPES, (len(part),), generator=generator)
        part.copy_(torch.tanh(prototypes[kinds] + 0.5 * torch.randn(part.shape, generator=generator)))
        # A mean of M signs is a multiple of 2 / M away from -1.
        part.add_(1).mul_(frames / 2).round_().mul_(2 / frames).sub_(1)
    return codes


def drift(codes: Tensor, *, seed: int) -> None:
    """Change made-up codes as an epoch of training might."""
    generator = torch.Generator().manual_seed(seed)
    for start in range(0, len(codes), CHUNK):
        part = codes[start : start + CHUNK]
        part.add_(DRIFT * torch.randn(part.shape, generator=generator)).clamp_(-1, 1)


def speeds(params: Params, *, layers: int, feature_size: int, videos: int, repeats: int) -> dict[str, float]:
    """Videos a second in training and in encoding, each the best of `repeats`, on features that are noise."""
    noise = torch.Generator().manual_seed(0)
    features = torch.randn(videos, params.features.frames, feature_size, generator=noise)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.h5"
        write_feature_file(
            path,
            features.numpy(),
            ids=[str(row) for row in range(videos)],
            labels=[()] * videos,
            splits=["train"] * videos,
            meta=FeatureMeta("", "", 0),
        )
        model = params.model.model_copy(update={"layers": layers})
        session = training_session(params.model_copy(update={"model": model}), FeatureFile(path))
        # Held in memory, whatever is free just now.
        session.videos = FrameSource.from_tensor(session.videos.ids, features.half())
    trainer = session.trainer()

    def encoding() -> None:
        session.encode(trainer.model.hasher, session.videos)

    training, coding = best(trainer.train_epoch, repeats), best(encoding, repeats)
    return {
        "training_videos_a_second": videos / training["clock"],
        "encoding_videos_a_second": videos / coding["clock"],
        "training_videos_a_processor_second": videos / training["counted"],
        "encoding_share_of_an_epoch": coding["counted"] / training["counted"],
    }


def clusterings(
    params: Params, videos: int, bits: int, counts: list[int], networks: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What the first clustering of a round costs for each count, and what a refresh with all counts does."""
    settings, every = params.clustering, params.rounds["1"].refresh_every
    codes = soft_codes(videos, bits, frames=params.features.frames, seed=params.seed)
    made: list[Granularity] = []

    def cluster(counts: list[int], last: list[Granularity]) -> None:
        made[:] = make_anchors(
            codes,
            counts,
            iterations=settings.iterations,
            restarts=settings.restarts,
            points_per_centroid=settings.points_per_centroid,
            mean_concentration=settings.concentration,
            centres=settings.centres,
            seed=params.seed,
            last=last,
        )

    rows, begun = [], []
    for count in counts:
        seconds = timed(partial(cluster, [count], []))
        begun += made
        rows.append(
            {
                "videos": videos,
                "clusters": count,
                "seconds": round(seconds["clock"], 3),
                "counted_seconds": round(seconds["counted"], 3),
                "empty": int((made[0].sizes == 0).sum()),
                "share_of_an_epoch": {
                    network["network"]: seconds["counted"]
                    / (videos / network["training_videos_a_processor_second"])
                    for network in networks
                },
            }
        )
        print(rows[-1], flush=True)
    drift(codes, seed=params.seed)
    seconds = timed(partial(cluster, counts, begun))
    refresh = {
        "videos": videos,
        "clustering_seconds": round(seconds["clock"], 3),
        "clustering_counted_seconds": round(seconds["counted"], 3),
        "empty": sum(int((clusters.sizes == 0).sum()) for clusters in made),
        "share_of_the_next_epochs": {
            network["network"]: (
                network["encoding_share_of_an_epoch"]
                + seconds["counted"] * network["training_videos_a_processor_second"] / videos
            )
            / every
            for network in networks
        },
    }
    print(refresh, flush=True)
    return rows, refresh


def main() -> None:
    """Parse the command line, run, print, draw and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", type=int, nargs="+", default=[10**4, 10**5, 10**6, 10**7])
    parser.add_argument("--counts", type=int, nargs="+", default=[250, 400, 600])
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument(
        "--timed-videos", type=int, default=256, help="that training and encoding are timed on"
    )
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--name", default="clustering_cost", help="of the file in benchmarks/results")
    arguments = parser.parse_args()
    params = load_params()
    settings = params.clustering

    networks: list[dict[str, Any]] = []
    for name, layers, size in (
        ("params.yaml", params.model.layers, 1280),
        ("paper", 12, 4096),
    ):
        measured = speeds(
            params,
            layers=layers,
            feature_size=size,
            videos=arguments.timed_videos,
            repeats=arguments.repeats,
        )
        networks.append({"network": name, "layers": layers, "feature_size": size, **measured})
        print(networks[-1], flush=True)

    every = params.rounds["1"].refresh_every
    rows: list[dict[str, Any]] = []
    refreshes: list[dict[str, Any]] = []
    for videos in arguments.videos:
        of_counts, refresh = clusterings(params, videos, arguments.bits, arguments.counts, networks)
        rows += of_counts
        refreshes.append(refresh)

    table = Table(
        "videos",
        "clusters",
        "processor seconds",
        *(f"share of an epoch, {one['network']}" for one in networks),
    )
    for row in rows:
        shares = [f"{row['share_of_an_epoch'][one['network']]:.2%}" for one in networks]
        table.add_row(f"{row['videos']:,}", str(row["clusters"]), f"{row['counted_seconds']:.1f}", *shares)
    Console().print(table)
    table = Table(
        "videos",
        "processor seconds of a refresh's clustering",
        *(f"refresh, share of the next {every} epochs, {one['network']}" for one in networks),
    )
    for refresh in refreshes:
        shares = [f"{refresh['share_of_the_next_epochs'][one['network']]:.1%}" for one in networks]
        table.add_row(f"{refresh['videos']:,}", f"{refresh['clustering_counted_seconds']:.1f}", *shares)
    Console().print(table)
    write_result(
        arguments.name,
        {
            "bits": arguments.bits,
            "iterations": settings.iterations,
            "restarts": settings.restarts,
            "points_per_centroid": settings.points_per_centroid,
            "timed_videos": arguments.timed_videos,
            "networks": networks,
            "precision": params.training.precision,
            "refresh_every": every,
            "rows": rows,
            "refreshes": refreshes,
            "machine": machine(),
        },
    )
    draw(rows, networks, arguments.counts)


def draw(rows: list[dict[str, Any]], networks: list[dict[str, Any]], counts: list[int]) -> None:
    """Share of an epoch over the number of videos, all counts of a schedule one after the other."""
    figure = new_figure(7.2, 4.2)
    heading(
        figure,
        "What one clustering costs beside one epoch of training",
        f"Clustering with {', '.join(str(count) for count in counts)} centres, one count a line from pale to dark",
    )
    axes = figure.add_subplot()
    dress(axes, x="training videos", y="share of an epoch")
    for network, colour in zip(networks, (ORANGE, BLUE), strict=True):
        for place, count in enumerate(counts):
            own = [row for row in rows if row["clusters"] == count]
            axes.plot(
                [row["videos"] for row in own],
                [row["share_of_an_epoch"][network["network"]] for row in own],
                color=colour,
                marker="o",
                markersize=4,
                alpha=0.4 + 0.6 * (place + 1) / len(counts),
                label=f"encoder of {network['layers']} layer{'s' * (network['layers'] > 1)} ({network['network']})"
                if place == len(counts) - 1
                else None,
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.2%}" if value < 0.01 else f"{value:.0%}")
    axes.legend(frameon=False, fontsize=9.5, labelcolor=GREY)
    save(figure, IMAGES / "findings-clustering.png")


if __name__ == "__main__":
    main()
