"""How good the codes are beside the yardsticks, over corpora, lengths and seeds.

    python benchmarks/quality.py                                  # six demo corpora, which it makes
    python benchmarks/quality.py --quick                          # two of them, 64 bits, one seed
    python benchmarks/quality.py --corpus gtea=gtea.h5 --corpus mine=mine.h5@kinds --against few-recordings
    python benchmarks/quality.py --against sampler.kind=random    # the same with another sampler

Trains with params.yaml (with what --preset and --set change) on the training videos of each corpus only, and
measures its query videos once, at the end. What is trained stays in .work/quality: started again, it goes on
from there. A corpus or a training that fails is a line, and the others go on. At its end, also by ctrl-C, it
prints a table and writes JSON.

A corpus is a file of the stage `features`, or any HDF5 file with `features` [n, M, D], `labels` [n] and
`is_query` [n]; then all other videos are both training set and database. Behind an @, the data set that holds
the labels instead.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from ssvh_model.corpus.arcade import ArcadeSpec, render_arcade
from ssvh_model.corpus.other_features import as_feature_file
from ssvh_model.corpus.splits import SplitSpec, assign_splits
from ssvh_model.errors import UserError
from ssvh_model.files import atomic_path, sha256_of
from ssvh_model.manifest import write_manifest
from ssvh_model.retrieval.bootstrap import paired_difference
from ssvh_model.retrieval.report import Comparison
from ssvh_model.video.extraction import extract_features
from tasks.experiments.run import begin_process
from tasks.experiments.videos import feature_digest, measure_hasher
from tasks.extraction.chosen_backbone import chosen_backbone
from tasks.machine.device import pick_workers
from tasks.machine.processes import Started, kill_children, terminate_as_interrupt
from tasks.machine.progress import ShownProgress
from tasks.params.changes import parse_changes
from tasks.params.presets import params_with_presets
from tasks.params.sections import Params
from tasks.pipeline.trained_by import WHOLE_TRAINING, trained_by
from tasks.training.both_phases import train_rounds, train_warmup
from tasks.training.selected import selected_hasher
from tasks.training.settings import training_session

RESULTS = Path(__file__).parent / "results"
KEPT = Path(".work/quality")

# Seed and distortion. The first is what `make run` has, on which defaults were chosen.
DEMOS = ((1, 0.7), (2, 0.7), (3, 0.7), (1, 0.4), (2, 0.4), (3, 0.4))
QUICK_DEMOS = ((1, 0.7), (2, 0.4))
# On these, too: the webcam clips and the kitchen scenes, whatever their files are called.
CHOSEN_ON = (
    "98a07a352c024a34de97452f49efd5eeea58ce8b2108c0893879ba19bccefd7e",
    "e38f182b980f40d939531e0b578fd056eda8a191f03fd3c72137fd57b20e91f3",
)
YARDSTICKS = ("itq", "float")
OWN = "own"  # the settings that are judged; others go by what `--against` names
RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Corpus:
    """What is trained and measured on.

    Attributes:
        name: in the table.
        file: of its features.
        labels: data set that holds the labels, where the file is not one of the stage `features`.
        chosen_on: whether defaults were chosen while looking at its queries.
    """

    name: str
    file: Path
    labels: str
    chosen_on: bool

    @cached_property
    def digest(self) -> str:
        """Of the features, wherever they are."""
        return feature_digest(self.file)

    @classmethod
    def of(cls, text: str) -> Corpus:
        """From NAME=FILE or NAME=FILE@DATASET.

        Raises:
            UserError: it is neither, or there is no such file.
        """
        name, sign, rest = text.partition("=")
        path, _, labels = rest.partition("@")
        if not name or not sign or not path:
            raise UserError(f"--corpus {text}: allowed is NAME=FILE or NAME=FILE@DATASET")
        if not Path(path).is_file():
            raise UserError(f"--corpus {text}: there is no file {path}")
        return cls(name, Path(path), labels or "labels", sha256_of(Path(path)) in CHOSEN_ON)

    @classmethod
    def demo(cls, seed: int, distortion: float) -> Corpus:
        """One that `make_demo` makes."""
        name = f"demo-{seed}-{distortion:g}"
        return cls(name, KEPT / name / "features.h5", "labels", (seed, distortion) == DEMOS[0])


@dataclass(frozen=True)
class Measured:
    """What came of a training.

    Attributes:
        figures: as JSON has them.
        precision: average precisions [queries, K] of everything that was measured, by "<labelling> <name>".
    """

    figures: dict[str, Any]
    precision: dict[str, np.ndarray]


@dataclass(frozen=True)
class Training:
    """One row of what is to be done.

    Attributes:
        corpus: what on.
        setting: `OWN`, or what `--against` names.
        params: with length and seed.
    """

    corpus: Corpus
    setting: str
    params: Params

    @property
    def name(self) -> str:
        """For lines."""
        return f"{self.corpus.name}, {self.setting}, {self.params.model.bits} bits, seed {self.params.seed}"

    @cached_property
    def result(self) -> Path:
        """Where the figures stay, by all that they depend on; average precisions are beside it."""
        depends = trained_by(*WHOLE_TRAINING, "evaluate")
        content = [
            depends.values(self.params.model_dump(mode="json")),
            depends.code_digest(),
            self.corpus.digest,
            self.corpus.labels,
        ]
        return KEPT / f"{hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]}.json"

    def measured(self) -> Measured:
        """What is kept of it."""
        with np.load(self.result.with_suffix(".npz")) as kept:
            return Measured(json.loads(self.result.read_text()), dict(kept))


def make_demo(seed: int, distortion: float) -> None:
    """Render a demo corpus and extract its features with params.yaml's settings, if that is not done.

    Raises:
        UserError: as `render_arcade` and `extract_features`.
    """
    corpus = Corpus.demo(seed, distortion)
    if corpus.file.is_file():
        return
    params = params_with_presets([], changes={"seed": seed, "corpus.arcade.distortion": distortion})
    workers, folder = pick_workers(params.running.workers), corpus.file.parent
    clips = render_arcade(
        ArcadeSpec(**params.corpus.arcade.model_dump()),
        folder,
        seed=seed,
        workers=workers,
        progress=ShownProgress(f"{corpus.name}: clips", print),
    )
    videos = assign_splits(clips, SplitSpec(**params.corpus.split.model_dump()), seed=seed)
    write_manifest(folder / "manifest.csv", videos)
    extract_features(
        videos,
        folder,
        chosen_backbone(params),
        frames=params.features.frames,
        batch_size=params.features.batch_size,
        thumbnail=params.features.thumbnail,
        folder=folder,
        workers=workers,
        progress=ShownProgress(f"{corpus.name}: videos", print),
    )


def begin(starter: Started, threads: int) -> None:
    """Prepare a worker, which ends when its starter is gone, and removes its files then."""
    begin_process(starter, threads)
    terminate_as_interrupt()


def measure(training: Training) -> None:
    """Train once, evaluate once and keep what came of it: figures, and average precisions query by query."""
    params, corpus = training.params, training.corpus
    folder = Path(tempfile.mkdtemp())
    try:
        file = as_feature_file(corpus.file, folder, labels=corpus.labels)
        began, spent = time.perf_counter(), time.process_time()
        session = training_session(params, file)
        warm = train_warmup(session, params, folder / "warmup", lambda row, seconds: None)
        state = train_rounds(session, params, warm, folder, lambda row, seconds: None)
        seconds, spent = time.perf_counter() - began, time.process_time() - spent
        evaluation = measure_hasher(params, selected_hasher(params, state), file, "query", fine=True)
        parts = {"label": evaluation.coarse, "fine label": evaluation.fine}
        measured = {name: part for name, part in parts.items() if part is not None}
        KEPT.mkdir(parents=True, exist_ok=True)
        with atomic_path(training.result.with_suffix(".npz")) as temporary:
            np.savez_compressed(
                temporary,
                **{
                    f"{labels} {name}": retrieval.average_precision
                    for labels, part in measured.items()
                    for name, retrieval in part.measured().items()
                },
            )
        content = {
            "training_videos": len(session.videos),
            "training_seconds": round(seconds, 1),
            # Of all threads; hardly more on a machine that has other work.
            "processor_seconds": round(spent, 1),
            "labels": {name: figures(part) for name, part in measured.items()},
        }
        with atomic_path(training.result) as temporary:
            temporary.write_text(json.dumps(content))
    finally:
        shutil.rmtree(folder)


def figures(part: Comparison) -> dict[str, float | None]:
    """What the table shows of an evaluation."""
    found = part.measured()
    return {
        "gmap": found["hasher"].gmap,
        "map_at_5": found["hasher"].map_at_k[5],
        **{f"{name}_gmap": found[name].gmap if name in found else None for name in YARDSTICKS},
    }


def summaries(done: Sequence[Training]) -> list[dict[str, Any]]:
    """Mean, spread and paired intervals over the seeds, one entry a corpus, length, setting and labelling."""
    groups: dict[tuple[Corpus, int], dict[str, dict[int, Measured]]] = {}
    for one in done:
        settings = groups.setdefault((one.corpus, one.params.model.bits), {})
        settings.setdefault(one.setting, {})[one.params.seed] = one.measured()
    return [
        {
            "corpus": corpus.name,
            "chosen_on": corpus.chosen_on,
            "bits": bits,
            "setting": setting,
            "labels": labels,
            **averages(runs.values(), labels),
            "over": above_others(settings, labels) if setting == OWN else {},
        }
        for (corpus, bits), settings in groups.items()
        for setting, runs in settings.items()
        for labels in next(iter(runs.values())).figures["labels"]
    ]


def averages(runs: Collection[Measured], labels: str) -> dict[str, Any]:
    """Over the seeds of one setting."""
    values = [run.figures["labels"][labels] for run in runs]
    return {
        "seeds": len(runs),
        **{name: mean([one[name] for one in values]) for name in values[0]},
        "gmap_std": float(np.std([one["gmap"] for one in values], ddof=1)) if len(values) > 1 else None,
        "training_videos": next(iter(runs)).figures["training_videos"],
        **{
            name: mean([run.figures[name] for run in runs])
            for name in ("training_seconds", "processor_seconds")
        },
    }


def above_others(settings: Mapping[str, Mapping[int, Measured]], labels: str) -> dict[str, Any]:
    """How far the judged setting is above each yardstick, and above each other setting with the same
    seeds.
    """
    own, hasher = settings[OWN], f"{labels} hasher"
    pairs = {
        name: [(run.precision[hasher], run.precision[f"{labels} {name}"]) for run in own.values()]
        for name in YARDSTICKS
        if all(f"{labels} {name}" in run.precision for run in own.values())
    }
    for name, runs in settings.items():
        if name != OWN:
            same = own.keys() & runs.keys()
            pairs[name] = [
                (own[seed].precision[hasher], runs[seed].precision[hasher]) for seed in sorted(same)
            ]
    return {name: over(*zip(*both, strict=True)) for name, both in pairs.items() if both}


def over(own: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> dict[str, float | None]:
    """The share by which GMAP is above that of another, and the ends of its interval, paired over queries and
    seeds.
    """
    found = paired_difference(
        np.stack(own), np.stack(other), resamples=RESAMPLES, confidence=CONFIDENCE, seed=0
    )
    return {"share": found.relative, "low": found.relative_low, "high": found.relative_high}


def mean(values: Sequence[float | None]) -> float | None:
    """None where one is missing."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """The summaries as they are printed: what was judged, with the others beside it."""
    others = sorted({name for row in rows for name in row["over"]} - {*YARDSTICKS})
    made = Table(
        "corpus",
        "labels",
        "bits",
        "seeds",
        "GMAP",
        "ITQ",
        "float",
        "over ITQ",
        "over float",
        *others,
        "seconds",
    )
    for row in rows:
        if row["setting"] != OWN:
            continue
        spread = "" if row["gmap_std"] is None else f" +- {row['gmap_std']:.4f}"
        made.add_row(
            row["corpus"] + ("*" if row["chosen_on"] else ""),
            row["labels"],
            str(row["bits"]),
            str(row["seeds"]),
            f"{row['gmap']:.4f}{spread}",
            *("" if row[f"{name}_gmap"] is None else f"{row[f'{name}_gmap']:.4f}" for name in YARDSTICKS),
            *(interval(row["over"].get(name)) for name in (*YARDSTICKS, *others)),
            f"{row['training_seconds']:.0f}",
        )
    if any(row["chosen_on"] for row in rows):
        made.caption = "* defaults were chosen while looking at this corpus's queries: no test of them"
    return made


def interval(found: dict[str, float | None] | None) -> str:
    """Such as "+12% (+3 to +20)"."""
    if found is None or found["share"] is None or found["low"] is None or found["high"] is None:
        return ""
    return f"{found['share']:+.0%} ({100 * found['low']:+.0f} to {100 * found['high']:+.0f})"


def train_all(trainings: Sequence[Training], workers: int, threads: int) -> list[str]:
    """Train what is not there yet, `workers` at once; lines about what failed.

    Args:
        trainings: all that are wanted.
        workers: processes.
        threads: of each.
    """
    missing = [one for one in trainings if not one.result.is_file()]
    failed: list[str] = []
    if len(missing) < len(trainings):
        print(f"{len(trainings) - len(missing)} of {len(trainings)} trainings are there", flush=True)
    began = time.monotonic()
    with ProcessPoolExecutor(
        workers,
        mp_context=get_context("spawn"),
        initializer=begin,
        initargs=(Started.this(), threads),
    ) as pool:
        try:
            jobs: dict[Future[None], Training] = {pool.submit(measure, one): one for one in missing}
            for number, job in enumerate(as_completed(jobs), 1):
                training = jobs[job]
                left = (time.monotonic() - began) / number * (len(missing) - number)
                said = f"{number} of {len(missing)}, {left / 60:.0f} min left: {training.name}"
                if (error := job.exception()) is not None:
                    failed.append(f"{training.name}: {type(error).__name__}: {' '.join(str(error).split())}")
                    print(f"{said}: failed: {error}", flush=True)
                    continue
                gmap = json.loads(training.result.read_text())["labels"]["label"]["gmap"]
                print(f"{said}: GMAP {gmap:.4f}", flush=True)
        except BaseException:
            # The workers leave a ctrl-C to their starter.
            pool.shutdown(wait=False, cancel_futures=True)
            kill_children()
            raise
    return failed


def main() -> int:
    """Parse the command line, run, print and write; 1 if something failed, 2 after bad input."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", action="append", default=[], metavar="NAME=FILE", dest="corpora")
    parser.add_argument("--bits", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--quick", action="store_true", help="two demo corpora, 64 bits, seed 1")
    parser.add_argument("--preset", action="append", default=[], metavar="NAME", dest="presets")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="changes")
    parser.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="PRESET|KEY=VALUE",
        help="train this beside: a preset, or the same with one more change",
    )
    parser.add_argument("--workers", type=int, default=1, help="trainings at once; the cores are shared")
    parser.add_argument("--name", default="quality", help="of the file in benchmarks/results")
    arguments = parser.parse_args()
    bits, seeds = ([64], [1]) if arguments.quick else (arguments.bits, arguments.seeds)
    threads = max(1, torch.get_num_threads() // arguments.workers)
    failed: list[str] = []
    try:
        corpora = [Corpus.of(text) for text in arguments.corpora]
        judged = (arguments.presets, arguments.changes)
        settings = {OWN: judged, **{text: other_setting(text, *judged) for text in arguments.against}}
        wanted_params = [
            (
                setting,
                params_with_presets(
                    presets,
                    changes={
                        # Of a corpus it is known when it is read how many clusters it allows.
                        "corpus.source": "folder",
                        **parse_changes(changes),
                        "model.bits": length,
                        "seed": seed,
                    },
                ),
            )
            for length in bits
            for seed in seeds
            for setting, (presets, changes) in settings.items()
        ]
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for demo in () if corpora else QUICK_DEMOS if arguments.quick else DEMOS:
        try:
            make_demo(*demo)
            corpora.append(Corpus.demo(*demo))
        except UserError as error:
            failed.append(f"{Corpus.demo(*demo).name}: {error}")
    trainings = [Training(corpus, setting, params) for corpus in corpora for setting, params in wanted_params]

    try:
        failed += train_all(trainings, arguments.workers, threads)
    finally:
        if done := [one for one in trainings if one.result.is_file()]:
            report(done, arguments, threads)
    for line in failed:
        print(f"failed: {line}", file=sys.stderr)
    return 1 if failed else 0


def other_setting(text: str, presets: list[str], changes: list[str]) -> tuple[list[str], list[str]]:
    """Presets and changes of what is trained beside the judged setting: a preset of its own, or the judged
    one's with one more change.
    """
    return (presets, [*changes, text]) if "=" in text else ([text], [])


def report(done: Sequence[Training], arguments: argparse.Namespace, threads: int) -> None:
    """Write the JSON file and print the table."""
    rows = summaries(done)
    content = {
        "presets": arguments.presets,
        "changes": arguments.changes,
        "machine": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
        "threads": threads,
        "torch": torch.__version__,
        "summary": rows,
        "runs": [
            {
                "corpus": one.corpus.name,
                "setting": one.setting,
                "bits": one.params.model.bits,
                "seed": one.params.seed,
                **one.measured().figures,
            }
            for one in done
        ],
    }
    with atomic_path(RESULTS / f"{arguments.name}.json") as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
    console = Console()
    (console if console.is_terminal else Console(width=160)).print(table(rows))


if __name__ == "__main__":
    sys.exit(main())
