"""How fast training, clustering and evaluation are beside the straightforward way (`benchmarks/reference`),
and beside what the machine can do.

Each pair runs in turn in this process, so that other work on the machine slows both. `make bench-speed`
writes results/speed.json; `make bench-check` compares its ratios with those that are there.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

from machine import machine, precisions, read_result, write_result  # isort: skip  (before torch)

import numpy as np
import torch
from reference.clustering import reference_clusters
from reference.evaluation import reference_gmap
from reference.training import ReferenceTrainer

from ssvh_model.clustering.anchors import make_anchors
from ssvh_model.losses.objective import Objective
from ssvh_model.model.autossvh import AutoSSVH, DecoderConfig, build_model
from ssvh_model.model.hasher import HasherConfig
from ssvh_model.model.precision import Precision, wide_float32_products
from ssvh_model.model.sampler import SamplerConfig
from ssvh_model.retrieval.codes import pack
from ssvh_model.retrieval.evaluation import evaluate_codes
from ssvh_model.retrieval.hamming import as_words
from ssvh_model.training.frame_source import FrameSource
from ssvh_model.training.trainer import Optimization, Trainer
from tasks.records.store import git_commit

CPU = torch.device("cpu")
FRAMES, SIZE, BATCH, STEPS = 25, 1280, 64, 4
OBJECTIVE = Objective(reconstruction=1.0, alpha=0.2, beta=0.2, temperature=0.5, tau_plus=0.1, negatives="all")
LEARNING_RATE, CODE_NOISE = 2e-4, 0.5
QUERIES, VIDEOS, BITS, KINDS = 3783, 9537, 64, 101  # as UCF101 has
ITERATIONS, RESTARTS, POINTS_PER_CENTROID, CONCENTRATION = 20, 5, 200, 0.2
WANTED = {
    ("params.yaml's network", "float32"): 1.3,
    ("params.yaml's network", "bfloat16"): 2.5,
    ("the paper's network", "float32"): 1.15,
    ("the paper's network", "bfloat16"): 3.3,
}
WANTED_OF_EVALUATION = 100.0  # of a few thousand queries and videos
FALLS = 0.8  # share of a committed ratio below which `--check` fails


@dataclass(frozen=True)
class Pair:
    """One thing done the straightforward way and the product's.

    Attributes:
        name: for the table.
        reference, product: each does it once.
        work: how much the product does at once, in `unit`.
        unit: of the rate, such as "videos".
        reference_work: how much the reference does at once; None if the same. Ratios are of rates.
        share: of the limit, for the product's seconds; None where none is known.
        limit: what that is.
        wanted: ratio at least; None where none was set.
    """

    name: str
    reference: Callable[[], object]
    product: Callable[[], object]
    work: float
    unit: str
    reference_work: float | None = None
    share: Callable[[float], float] | None = None
    limit: str = ""
    wanted: float | None = None


def model_of(layers: int, decoder_layers: int) -> AutoSSVH:
    """The network of params.yaml, with so many layers."""
    hasher = HasherConfig(
        feature_size=SIZE, frames=FRAMES, bits=BITS, width=256, layers=layers, heads=6, mlp_ratio=4.0,
        position_scale=0.1, pooling="values",
    )  # fmt: skip
    decoder = DecoderConfig(width=192, layers=decoder_layers, heads=3)
    sampler = SamplerConfig("adversarial", mask_ratio=0.5, gumbel=1.0, noise=0.1, temperature=0.5)
    return build_model(hasher, decoder, sampler, seed=0)


def training(name: str, layers: int, decoder_layers: int, precision: Precision) -> Pair:
    """`STEPS` steps of a network."""
    features = torch.randn(STEPS * BATCH, FRAMES, SIZE, generator=torch.Generator().manual_seed(0)).half()
    optimization = Optimization(
        batch_size=BATCH, learning_rate=LEARNING_RATE, learning_rate_floor=1e-6, step_epochs=20,
        step_factor=0.9, feature_dropout=0.0, code_noise=CODE_NOISE, reversal=1.0, reversal_ramp=0,
        precision=precision,
    )  # fmt: skip
    product = Trainer(
        model_of(layers, decoder_layers),
        FrameSource.from_tensor([str(row) for row in range(len(features))], features),
        objective=OBJECTIVE,
        optimization=optimization,
        seed=0,
        device=CPU,
    )
    reference = ReferenceTrainer(
        model_of(layers, decoder_layers), features, objective=OBJECTIVE, batch_size=BATCH,
        learning_rate=LEARNING_RATE, reversal=1.0, code_noise=CODE_NOISE, seed=0,
    )  # fmt: skip
    operations = operations_of(product.train_epoch)
    rate = product_rate(precision)
    return Pair(
        f"training step, {name}, {precision}",
        reference.train_epoch,
        product.train_epoch,
        STEPS * BATCH,
        "videos",
        share=lambda seconds: operations / seconds / rate,
        limit=f"matrix products in {precision} at {rate / 1e9:.0f} GFLOP/s",
        wanted=WANTED[name, precision],
    )


def operations_of(work: Callable[[], object]) -> float:
    """Floating point operations of the matrix products in `work`."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


@wide_float32_products()
def product_rate(precision: Precision) -> float:
    """Operations a second of a matrix product of the shape that a step's are, alone."""
    kind = {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    left, right = torch.randn(1536, 256).to(kind), torch.randn(256, 1024).to(kind)
    times = []
    for _ in range(30):
        began = time.perf_counter()
        left @ right
        times.append(time.perf_counter() - began)
    return 2 * left.shape[0] * left.shape[1] * right.shape[1] / median(times[5:])


def clustering(videos: int, clusters: int) -> Pair:
    """A refresh of the anchors, of codes that have moved since the last one."""
    draws = torch.Generator().manual_seed(0)
    codes = torch.randn(KINDS, BITS, generator=draws)[torch.arange(videos) % KINDS]
    codes += torch.randn(videos, BITS, generator=draws)
    moved = torch.tanh(codes + 0.2 * torch.randn(videos, BITS, generator=draws))
    settings = {
        "iterations": ITERATIONS, "restarts": RESTARTS, "points_per_centroid": POINTS_PER_CENTROID,
        "mean_concentration": CONCENTRATION, "seed": 0,
    }  # fmt: skip
    last = make_anchors(torch.tanh(codes), [clusters], **settings, centres="voting")
    return Pair(
        f"clustering, {videos:,} videos, {clusters} clusters",
        lambda: reference_clusters(moved, clusters, **settings),
        lambda: make_anchors(moved, [clusters], **settings, centres="voting", last=last),
        videos,
        "videos",
    )


def evaluation(queries: int, videos: int, reference_queries: int) -> Pair:
    """Codes that tell the kinds apart somewhat. The reference takes some of the queries where all would not
    fit into memory.
    """
    draws = np.random.default_rng(0)
    prototypes = draws.choice(np.array([-1, 1], dtype=np.int8), (KINDS, BITS))

    def coded(count: int) -> tuple[np.ndarray, list[str]]:
        kinds = draws.integers(0, KINDS, count)
        codes = prototypes[kinds]
        codes[draws.random(codes.shape, dtype=np.float32) < 0.25] *= -1
        return codes, [str(kind) for kind in kinds]

    (query, query_labels), (database, labels) = coded(queries), coded(videos)
    sets = [[(label,) for label in some] for some in (query_labels, labels)]
    ids = [f"query {row}" for row in range(queries)], [str(row) for row in range(videos)]
    rate = distance_rate(database)
    return Pair(
        f"evaluation, {queries:,} queries on {videos:,} videos, {BITS} bits",
        lambda: reference_gmap(query[:reference_queries], database, query_labels[:reference_queries], labels),
        lambda: evaluate_codes(query, database, *sets, *ids, exclude_self=True),
        queries * videos,
        "pairs",
        reference_work=reference_queries * videos,
        share=lambda seconds: queries * videos / seconds / rate,
        limit=f"Hamming distances alone, {rate / 1e9:.1f} x 10^9 pairs/s on {torch.get_num_threads()} cores",
        wanted=WANTED_OF_EVALUATION if queries == reference_queries else None,
    )


def distance_rate(codes: np.ndarray) -> float:
    """Hamming distances a second on all cores, from one core that finds some over and over in its cache."""
    words = as_words(pack(np.resize(codes, (2**14, codes.shape[1]))))[:, 0]
    differing, counts = np.empty_like(words), np.empty(len(words), dtype=np.uint8)
    times = []
    for _ in range(200):
        began = time.perf_counter()
        np.bitwise_xor(words, words[0], out=differing)
        np.bitwise_count(differing, out=counts)
        times.append(time.perf_counter() - began)
    return len(words) / median(times) * torch.get_num_threads()


def measured(pair: Pair, repeats: int) -> dict[str, Any]:
    """Both sides in turn, after one run of each that does not count."""
    seconds: dict[str, list[float]] = {"reference": [], "product": []}
    for number in range(repeats + 1):
        for side, work in (("reference", pair.reference), ("product", pair.product)):
            gc.collect()
            began = time.perf_counter()
            work()
            if number:
                seconds[side].append(time.perf_counter() - began)
    more = pair.work / (pair.reference_work or pair.work)
    ratios = [more * slow / fast for slow, fast in zip(seconds["reference"], seconds["product"], strict=True)]
    middle = {side: median(values) for side, values in seconds.items()}
    low, _, high = quantiles(ratios, n=4)
    result = {
        "seconds": middle,
        "ratio": median(ratios),
        "ratio_quartiles": [low, high],
        "wanted": pair.wanted,
        f"{pair.unit}_per_second": pair.work / middle["product"],
    }
    if pair.share is not None:
        result |= {"share_of_limit": pair.share(middle["product"]), "limit": pair.limit}
    return result


def main() -> int:
    """Measure, print, and write or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--only", default="", help="pairs with these words in their names")
    parser.add_argument(
        "--check", action="store_true", help="compare with the committed ratios instead of writing"
    )
    options = parser.parse_args()
    makers = [
        lambda: clustering(VIDEOS, 250),
        lambda: clustering(100_000, 600),
        lambda: evaluation(QUERIES, VIDEOS, QUERIES),
        lambda: evaluation(10_000, 1_000_000, 20),
        *(
            lambda name=name, layers=layers, precision=precision: training(name, *layers, precision)
            for name, layers in (("params.yaml's network", (1, 1)), ("the paper's network", (12, 2)))
            for precision in precisions()
        ),
    ]
    results: dict[str, Any] = {}
    print(
        f"{'':<58}{'reference':>10}{'product':>10}{'ratio':>7}{'quartiles':>14}{'wanted':>8}{'of limit':>9}"
    )
    for make in makers:
        pair = make()
        if options.only not in pair.name:
            continue
        found = measured(pair, options.repeats)
        results[pair.name] = found
        low, high = found["ratio_quartiles"]
        wanted = "" if pair.wanted is None else f"{pair.wanted:g}"
        share = f"{found['share_of_limit']:.0%}" if "share_of_limit" in found else ""
        print(
            f"{pair.name:<58}{found['seconds']['reference']:>8.3f} s{found['seconds']['product']:>8.3f} s"
            f"{found['ratio']:>7.2f}{f'{low:.2f}-{high:.2f}':>14}{wanted:>8}{share:>9}",
            flush=True,
        )
    if options.check:
        return checked(results)
    write_result("speed", {"pairs": results, "commit": git_commit(), "machine": machine()})
    return 0


def checked(results: dict[str, Any]) -> int:
    """1 if a ratio fell clearly below the committed one."""
    before = read_result("speed")["pairs"]
    fell = {
        name: (found["ratio"], before[name]["ratio"])
        for name, found in results.items()
        if name in before and found["ratio"] < FALLS * before[name]["ratio"]
    }
    for name, (now, then) in fell.items():
        print(f"{name}: {now:.2f} times as fast as the reference; {then:.2f} in results/speed.json")
    return int(bool(fell))


if __name__ == "__main__":
    sys.exit(main())
