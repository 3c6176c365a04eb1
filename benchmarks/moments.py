"""How well a clip that was cut out of a film is found, and where: by segments of several lengths and by
shots, by codes alone and with `--rerank features`.

    python benchmarks/moments.py
    python benchmarks/moments.py --films 100 --seconds 8
    python benchmarks/moments.py --films 0 --name rerank   # the demo corpus alone

Needs `make run`. Films are made of clips of the demo's games that are rendered for this from another seed
than the demo corpus's, so that the hasher has seen none of them; each film is a file of 10 clips, one after
the other. The queries are cut out at random places and encoded again. Beside it: what `--rerank` does to
the GMAP of the demo corpus, whose queries are compared with whole videos.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import machine, write_result  # isort: skip  (before torch)

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table
from trained_index import make_trained_index

from ssvh_model.corpus.arcade import RATE, render_arcade
from ssvh_model.corpus.arcade_plan import ArcadeSpec
from ssvh_model.features import FeatureFile
from ssvh_model.index.index_folder import IndexFolder
from ssvh_model.index.searcher import Hit, Searcher
from ssvh_model.moments.rerank import Rerank
from ssvh_model.moments.segments import EvenSegments, Segments
from ssvh_model.moments.shots import Shots
from ssvh_model.progress import no_progress
from ssvh_model.retrieval.gmap import MAP_KS, gmap
from ssvh_model.video.decoding import sample_frames
from ssvh_model.video.encoding import write_video
from tasks import paths
from tasks.index.build import features_to_keep, settings_of
from tasks.index.encode import encode_features
from tasks.index.given_videos import encode_videos, find_given_videos, remove_work
from tasks.machine.device import pick_workers
from tasks.machine.progress import ShownProgress
from tasks.params.load import load_params
from tasks.params.sections import Params
from tasks.registry.find_hasher import find_hasher

CLIPS_A_FILM = 10
SETTINGS: tuple[Segments | None, ...] = (  # None for whole films
    None,
    EvenSegments(2.0, 0.5),
    EvenSegments(4.0, 0.5),
    EvenSegments(10.0, 0.5),
    Shots(),
)
RERANKS: tuple[Rerank, ...] = ("none", "soft", "features")
OF_CUTS: tuple[Rerank, ...] = ("none", "features")  # by their segments, which have no soft codes
NEAR = 1.0  # seconds by which a found place may be off
QUALITY = 20


@dataclass(frozen=True)
class Cut:
    """A clip that was cut out of a film.

    Attributes:
        path: of its file.
        film: id.
        start: second of the film at which it begins.
    """

    path: Path
    film: str
    start: float


def make_films(folder: Path, count: int, params: Params) -> list[Path]:
    """Files of clips one after the other, all of one size."""
    given = params.corpus.arcade.model_dump()
    spec = ArcadeSpec(
        **{**given, "clips": count * CLIPS_A_FILM, "reuploads": 1, "distortion": 0.0, "bad_frames": 0.0}
    )
    workers = pick_workers(params.running.workers)
    videos = render_arcade(
        spec, folder / "clips", seed=params.seed + 1, workers=workers, progress=ShownProgress("clips", print)
    )
    order = np.random.default_rng(0).permutation(len(videos))
    films = []
    for number in range(count):
        parts = [videos[place] for place in order[number * CLIPS_A_FILM : (number + 1) * CLIPS_A_FILM]]
        frames = [_frames(folder / "clips" / video.path, video.frames) for video in parts]
        films.append(folder / "films" / f"film-{number:03d}.mp4")
        write_video(films[-1], np.concatenate(frames), rate=RATE, quality=QUALITY)
    return films


def _frames(path: Path, count: int) -> np.ndarray:
    frames = sample_frames(path, count).frames
    return np.stack([np.asarray(Image.fromarray(frame).resize((160, 120))) for frame in frames])


def make_cuts(films: list[Path], count: int, seconds: float, folder: Path) -> list[Cut]:
    """Clips from random places of random films."""
    rng = np.random.default_rng(1)
    frames = round(seconds * RATE)
    cuts = []
    for number in range(count):
        film = films[int(rng.integers(len(films)))]
        whole = sample_frames(film, CLIPS_A_FILM * 32).frames
        first = int(rng.integers(len(whole) - frames + 1))
        path = folder / f"{number:04d}.mp4"
        write_video(path, whole[first : first + frames], rate=RATE, quality=QUALITY)
        cuts.append(Cut(path, film.stem, float(first / RATE)))
    return cuts


def make_index(folder: Path, films: Path, hasher: Path, segments: Segments | None, params: Params) -> float:
    """An index of films, cut into segments; how many seconds that took."""
    began = time.perf_counter()
    source = find_hasher(str(hasher), model="")
    videos = find_given_videos([films], params, label="film", progress=no_progress)
    encoded = encode_videos(videos, source, params, segments=segments, progress=lambda what: no_progress)
    index = IndexFolder(folder)
    with index.alone():
        index.replace(encoded.coded, source.folder, settings_of(params), seed=params.seed)
        index.keep(features_to_keep(encoded, {video.id: video for video in videos}))
    remove_work(encoded.work)
    return time.perf_counter() - began


def figures(searcher: Searcher, cuts: list[Cut], rerank: Rerank) -> dict[str, Any]:
    """Recall, how far off the place is, and milliseconds of a search, decoding and encoding of the query
    included.
    """
    first, among_ten, near, off, taken = 0, 0, 0, [], []
    searcher.nearest(cuts[0].path, 10, rerank=rerank)  # what only the first one waits for
    for cut in cuts:
        began = time.perf_counter()
        hits = searcher.nearest(cut.path, 10, rerank=rerank)
        taken.append(time.perf_counter() - began)
        among_ten += any(hit.id == cut.film for hit in hits)
        if hits[0].id == cut.film:
            first += 1
            off.append(abs(hits[0].start - cut.start))
            near += off[-1] <= NEAR
    return {
        "recall_at_1": round(first / len(cuts), 4),
        "recall_at_10": round(among_ten / len(cuts), 4),
        "recall_at_1_within_a_second": round(near / len(cuts), 4),
        "median_seconds_off": round(float(np.median(off)), 3) if off else None,
        "milliseconds": round(1000 * float(np.median(taken)), 1),
    }


def demo_gmap(folder: Path, hasher: Path, params: Params) -> dict[str, Any]:
    """GMAP of the demo corpus's queries with and without reranking, and milliseconds of a search beyond the
    query's frame features.
    """
    file, source = FeatureFile(paths.FEATURE_FILE), find_hasher(str(hasher), model="")
    coded = encode_features(
        file, source, params, rows=file.rows(*params.evaluate.database), progress=no_progress
    )
    index = IndexFolder(folder)
    with index.alone():
        index.replace(coded, source.folder, settings_of(params), seed=params.seed)
    searcher, queries = Searcher(folder), file.rows(*params.evaluate.query)
    features, labels = file.read(queries).numpy(), [set(file.labels[row]) for row in queries.tolist()]
    results: dict[str, Any] = {"queries": len(queries), "videos": len(coded)}
    for rerank in RERANKS:
        searcher.nearest_to_features(features[:1], max(MAP_KS), rerank=rerank)
        began = time.perf_counter()
        found = [searcher.nearest_to_features(one[None], max(MAP_KS), rerank=rerank)[0] for one in features]
        seconds = time.perf_counter() - began
        at_k = np.mean([average_precision(*both) for both in zip(found, labels, strict=True)], axis=0)
        results[rerank] = {
            "gmap": round(gmap(dict(zip(MAP_KS, at_k.tolist(), strict=True))), 4),
            "map_at_5": round(float(at_k[0]), 4),
            "milliseconds": round(1000 * seconds / len(queries), 2),
        }
    return results


def average_precision(hits: list[Hit], labels: set[str]) -> list[float]:
    """AP@K of a ranking for each of `MAP_KS`, as `ssvh_model.retrieval.average_precision` defines it, equally
    near ones as they come.
    """
    right = np.array([not labels.isdisjoint(hit.label.split("|")) for hit in hits])
    precision = right.cumsum() / np.arange(1, len(right) + 1)
    return [float((precision * right)[:k].sum() / k) for k in MAP_KS]


def main() -> None:
    """Parse the command line, measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--films", type=int, default=40)
    parser.add_argument("--cuts", type=int, default=50, help="queries of each length")
    parser.add_argument("--seconds", type=float, nargs="+", default=[4.0, 10.0], help="lengths of queries")
    parser.add_argument(
        "--folder", type=Path, help="where clips and films are made, and stay; clips that are there are taken"
    )
    parser.add_argument("--name", default="moments", help="of the file in benchmarks/results")
    arguments = parser.parse_args()
    params = load_params()
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        make_trained_index(folder)
        hasher = folder / "hasher"
        films = make_films(folder, arguments.films, params) if arguments.films else []
        cuts = {
            seconds: make_cuts(films, arguments.cuts, seconds, folder / f"cuts-{seconds}")
            for seconds in (arguments.seconds if films else ())
        }
        for number, segments in enumerate(SETTINGS if films else ()):
            index = folder / f"index-{number}"
            taken = make_index(index, folder / "films", hasher, segments, params)
            searcher = Searcher(index)
            for seconds, made in cuts.items():
                for rerank in OF_CUTS:
                    found = {
                        "segments": named(segments),
                        "rows": len(searcher),
                        "query_seconds": seconds,
                        "rerank": rerank,
                        **figures(searcher, made, rerank),
                    }
                    print(found, flush=True)
                    results.append(found)
            print(f"index {number}: {taken:.0f} s", flush=True)
        demo = demo_gmap(folder / "demo", hasher, params)
    show(results, demo)
    write_result(
        arguments.name,
        {
            "films": arguments.films,
            "cuts": arguments.cuts,
            "moments": results,
            "demo": demo,
            "machine": machine(),
        },
    )


def named(segments: Segments | None) -> str | dict[str, float]:
    """As `index.segments` has it."""
    if segments is None:
        return "whole"
    return "shots" if isinstance(segments, Shots) else dict(vars(segments))


def show(results: list[dict[str, Any]], demo: dict[str, Any]) -> None:
    """Print both tables."""
    table = Table("segments", "rows", "query", "rerank", "recall@1", "@10", "@1, within 1 s", "off", "ms")
    for row in results:
        cut = row["segments"]
        table.add_row(
            cut if isinstance(cut, str) else f"{cut['seconds']:g} s, {cut['overlap']:g}",
            str(row["rows"]),
            f"{row['query_seconds']:g} s",
            row["rerank"],
            *(
                str(row[name])
                for name in (
                    "recall_at_1",
                    "recall_at_10",
                    "recall_at_1_within_a_second",
                    "median_seconds_off",
                    "milliseconds",
                )
            ),
        )
    console = Console(width=110)
    if results:
        console.print(table)
    table = Table("demo corpus", "GMAP", "MAP@5", "ms a query")
    for rerank in RERANKS:
        row = demo[rerank]
        table.add_row(
            f"--rerank {rerank}", *(str(row[name]) for name in ("gmap", "map_at_5", "milliseconds"))
        )
    console.print(table)


if __name__ == "__main__":
    main()
