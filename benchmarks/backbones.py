"""What larger backbones give and cost: milliseconds a frame, and GMAP of float features and of ITQ's codes.

    python benchmarks/backbones.py                                   # on the demo corpus, which it renders
    python benchmarks/backbones.py --signs FOLDER                    # and on webcam clips of hand signs (ASL)

Clips are decoded and extracted anew for each backbone, with the other settings of params.yaml, into
.work/backbones; started again, it goes on from there. Backbones are compared on videos that no query is
among: those of the splits validation and database search the training videos. The queries are measured beside
it, and take no part in a choice. Times are of one thread, each backbone in turn, in processor time: their
ratios hold on other machines, more or less. `quality.py --corpus
NAME=.work/backbones/CORPUS/BACKBONE-SIZE/features.h5` trains on what was extracted.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from machine import machine, processor_seconds, write_result  # isort: skip  (before torch)

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from ssvh_model.corpus.arcade import ArcadeSpec, render_arcade
from ssvh_model.corpus.folder import FolderColumns, scan_folder
from ssvh_model.corpus.splits import SplitSpec, assign_splits
from ssvh_model.features import FeatureFile
from ssvh_model.manifest import Video
from ssvh_model.retrieval.bootstrap import paired_difference
from ssvh_model.retrieval.evaluation import Retrieval, evaluate_codes, evaluate_features
from ssvh_model.retrieval.itq import train_itq
from ssvh_model.training.encoded import mean_features
from ssvh_model.video.backbones import Backbone
from ssvh_model.video.extraction import extract_features
from ssvh_model.video.places import LocalPlace
from tasks.extraction.chosen_backbone import chosen_backbone
from tasks.machine.device import pick_workers
from tasks.machine.progress import ShownProgress
from tasks.params.presets import params_with_presets
from tasks.params.sections import Params

KEPT = Path(".work/backbones")
BACKBONES = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
MEASURED = {
    "held out": (("validation", "database"), ("train",)),
    "query": (("query",), ("train", "validation", "database")),
}
# Of the signs' 24 blocks of time, as everywhere here: neighbouring blocks are close.
SIGNS_VALIDATION, SIGNS_QUERY = range(12, 16), range(16, 24)
ITQ_SEEDS = range(1, 6)
RESAMPLES = 2000
CONFIDENCE = 0.95


def demo(params: Params) -> tuple[Path, list[Video]]:
    """The clips of `make run`, rendered if that is not done."""
    folder = KEPT / "demo"
    clips = render_arcade(
        ArcadeSpec(**params.corpus.arcade.model_dump()),
        folder,
        seed=params.seed,
        workers=pick_workers(params.running.workers),
        progress=ShownProgress("demo: clips", print),
    )
    return folder, assign_splits(clips, SplitSpec(**params.corpus.split.model_dump()), seed=params.seed)


def signs(folder: Path, params: Params) -> tuple[Path, list[Video]]:
    """Webcam clips of hand signs, divided by blocks of time."""
    found = scan_folder(
        LocalPlace(folder),
        labels_csv="labels.csv",
        columns=FolderColumns(file="clip", label="class", fine_label=None, group="block", split=None),
        workers=pick_workers(params.running.workers),
        progress=ShownProgress("signs: clips", print),
    )
    blocks = SplitSpec(
        validation=0.0,
        database=0.0,
        query=0.0,
        validation_groups=tuple(map(str, SIGNS_VALIDATION)),
        query_groups=tuple(map(str, SIGNS_QUERY)),
    )
    return folder, assign_splits(found, blocks, seed=params.seed)


def with_backbone(name: str, size: int) -> tuple[Params, Backbone]:
    """params.yaml with another backbone, and the backbone."""
    params = params_with_presets([], changes={"features.backbone": name, "features.size": size})
    return params, chosen_backbone(params)


def extracted(corpus: str, root: Path, videos: Sequence[Video], name: str, size: int) -> FeatureFile:
    """Features of a corpus by a backbone."""
    folder = KEPT / corpus / f"{name.replace('/', '-')}-{size}"
    if not (folder / "features.h5").is_file():
        params, backbone = with_backbone(name, size)
        extract_features(
            videos,
            root,
            backbone,
            frames=params.features.frames,
            batch_size=params.features.batch_size,
            thumbnail=params.features.thumbnail,
            folder=folder,
            workers=pick_workers(params.running.workers),
            progress=ShownProgress(f"{corpus}, {name}, {size} pixels: videos", print),
        )
    return FeatureFile(folder / "features.h5")


def measured(
    file: FeatureFile, sides: tuple[Sequence[str], Sequence[str]], bits: int
) -> dict[str, list[Retrieval]]:
    """Retrieval by float features, and by ITQ's codes with several seeds, learned on the training videos."""
    rows = [file.rows(*splits) for splits in sides]
    labels = [[file.labels[row] for row in side] for side in rows]
    ids = [[file.ids[row] for row in side] for side in rows]
    means = [mean_features(file, side) for side in rows]
    train = mean_features(file, file.rows("train"))
    machines = [train_itq(train, bits=bits, seed=seed) for seed in ITQ_SEEDS]
    return {
        "float": [evaluate_features(*means, *labels, *ids, exclude_self=True)],
        "itq": [
            evaluate_codes(*(itq.encode(side) for side in means), *labels, *ids, exclude_self=True)
            for itq in machines
        ],
    }


def figures(own: list[Retrieval], other: list[Retrieval]) -> dict[str, float | None]:
    """GMAP, the mean over what there is, and how far it is above another's, with the interval over queries
    and seeds.
    """
    above = paired_difference(
        np.stack([one.average_precision for one in own]),
        np.stack([one.average_precision for one in other]),
        resamples=RESAMPLES, confidence=CONFIDENCE, seed=0,
    )  # fmt: skip
    gmap = float(np.mean([one.gmap for one in own]))
    return {"gmap": gmap, "above": above.relative, "low": above.relative_low, "high": above.relative_high}


def times(backbones: Sequence[Backbone], frames: int, repeats: int) -> list[dict[str, float]]:
    """Milliseconds a frame of each, the middle of several turns, and the middle of its ratios to the
    first.
    """
    works = [
        partial(backbone.features, torch.rand(frames, backbone.size, backbone.size, 3) * 255)
        for backbone in backbones
    ]
    seconds: list[list[float]] = [[] for _ in works]
    for turn in range(repeats + 1):
        for number, work in enumerate(works):
            began = processor_seconds()
            work()
            if turn:  # the first does not count
                seconds[number].append(processor_seconds() - began)
    return [
        {
            "milliseconds_a_frame": 1000 * median(own) / frames,
            "times_the_first": median(mine / first for mine, first in zip(own, seconds[0], strict=True)),
        }
        for own in seconds
    ]


def measure_corpus(
    corpus: str, root: Path, videos: Sequence[Video], asked: Sequence[tuple[str, int]], bits: int
) -> list[dict[str, Any]]:
    """Figures of every backbone on a corpus; the first is what the others are compared with."""
    rows: list[dict[str, Any]] = []
    first: dict[str, dict[str, list[Retrieval]]] = {}
    for name, size in asked:
        file = extracted(corpus, root, videos, name, size)
        found = {what: measured(file, sides, bits) for what, sides in MEASURED.items()}
        first = first or found
        rows.append(
            {
                "corpus": corpus,
                "backbone": name,
                "size": size,
                "queries": {what: len(file.rows(*sides[0])) for what, sides in MEASURED.items()},
                **{
                    what: {kind: figures(own, first[what][kind]) for kind, own in kinds.items()}
                    for what, kinds in found.items()
                },
            }
        )
    return rows


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """As it is printed; GMAP per millisecond is that of the held-out videos."""
    made = Table("corpus", "backbone", "pixels", "ms", "ratio", "float", "ITQ", "float/ms", "ITQ/ms")
    for column in ("float, query", "ITQ, query"):
        made.add_column(column)
    for row in rows:
        cost = row["milliseconds_a_frame"]
        held, query = row["held out"], row["query"]
        made.add_row(
            row["corpus"],
            row["backbone"],
            str(row["size"]),
            f"{cost:.2f}",
            f"{row['times_the_first']:.2f}",
            *(shown(held[kind]) for kind in ("float", "itq")),
            *(f"{held[kind]['gmap'] / cost:.4f}" for kind in ("float", "itq")),
            *(shown(query[kind]) for kind in ("float", "itq")),
        )
    return made


def shown(found: dict[str, Any]) -> str:
    """Such as "0.2665 (+3%: -2 to +8)"."""
    if not found["above"]:
        return f"{found['gmap']:.4f}"
    return f"{found['gmap']:.4f} ({found['above']:+.0%}: {100 * found['low']:+.0f} to {100 * found['high']:+.0f})"


def main() -> None:
    """Parse the command line, measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--signs", type=Path, help="folder with clips and a labels.csv (clip, class, block)")
    parser.add_argument("--backbones", nargs="+", default=list(BACKBONES))
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[params_with_presets([], changes={}).features.size]
    )
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--name", default="backbones", help="of the file in benchmarks/results")
    arguments = parser.parse_args()
    params = params_with_presets([], changes={})
    asked = [(name, size) for size in arguments.sizes for name in arguments.backbones]
    corpora = {"demo": demo(params)}
    if arguments.signs is not None:
        corpora["signs"] = signs(arguments.signs, params)
    rows = [
        row
        for corpus, (root, videos) in corpora.items()
        for row in measure_corpus(corpus, root, videos, asked, arguments.bits)
    ]
    torch.set_num_threads(1)
    made = [with_backbone(name, size)[1] for name, size in asked]
    cost = dict(zip(asked, times(made, params.features.batch_size, arguments.repeats), strict=True))
    rows = [{**row, **cost[row["backbone"], row["size"]]} for row in rows]
    Console(width=200).print(table(rows))
    write_result(
        arguments.name,
        {
            "bits": arguments.bits,
            "engine": made[0].engine,
            "precision": made[0].precision,
            "rows": rows,
            "machine": machine(),
        },
    )


if __name__ == "__main__":
    main()
