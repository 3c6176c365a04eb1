"""Which cuts `index.segments: shots` finds in films whose cuts are known, by threshold: hard cuts, dissolves
and fades, camera still and moving.

    python benchmarks/moments.py --folder made && python benchmarks/cuts.py gameplay=made/clips
    python benchmarks/cuts.py webcam=../clips real=../other --films 10

Films are made of the clips in each folder, at least eight, one after the other. What changes abruptly within
a clip counts as wrong, whether or not it is a cut there: precision is the least that it may be.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

from machine import machine, write_result  # isort: skip  (before torch)

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from ssvh_model.moments.grid import GridFrames
from ssvh_model.moments.shots import LONGEST, SHORTEST, STEP, shot_spans
from ssvh_model.video.decoding import probe
from ssvh_model.video.encoding import write_video

THRESHOLDS = (4.0, 6.0, 8.0, 10.0, 14.0, 20.0)
TRANSITIONS = {"hard": 0.0, "dissolve": 0.5, "fade through black": 0.5}  # seconds
CAMERAS = {"still": 0.0, "moving": 0.4}  # shares of the picture's width that go by in a second
WIDTH, HEIGHT = 160, 120
QUALITY = 20
CLIPS_A_FILM = 8
MOST_FRAMES = 150  # of a clip
NEAR = 0.25  # seconds by which a cut may be off, or lie beside a transition


def clips(folder: Path, count: int, rng: np.random.Generator) -> list[tuple[np.ndarray, Fraction]]:
    """Frames of random clips, twice as large as the film's, and how many a second."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".mp4", ".avi", ".mkv", ".mov"))
    return [_frames(files[number]) for number in rng.choice(len(files), count, replace=False).tolist()]


@lru_cache(maxsize=16)
def _frames(path: Path) -> tuple[np.ndarray, Fraction]:
    seen = probe(path)
    rate = Fraction(seen.frames / seen.duration).limit_denominator(1001)
    grid = GridFrames(path, float(1 / rate), (2 * WIDTH, None), most=MOST_FRAMES)
    pictures = [Image.fromarray(one.shown).resize((2 * WIDTH, 2 * HEIGHT)) for one in grid]
    return np.stack([np.asarray(one) for one in pictures]), rate


def moved(frames: np.ndarray, rate: Fraction, speed: float, rng: np.random.Generator) -> np.ndarray:
    """What a camera sees of frames [n, 2 H, 2 W, 3] that goes to and fro over them; all of them if it stands
    still.
    """
    if not speed:
        return np.ascontiguousarray(frames[:, ::2, ::2])
    way = rng.uniform(0, 2) * WIDTH + np.arange(len(frames)) * speed * WIDTH / float(rate)
    lefts = np.abs((way % (2 * WIDTH)) - WIDTH).astype(int)
    return np.stack(
        [
            frame[HEIGHT // 2 :][:HEIGHT, left : left + WIDTH]
            for frame, left in zip(frames, lefts.tolist(), strict=True)
        ]
    )


def make_film(
    path: Path, parts: Sequence[np.ndarray], rate: Fraction, transition: str
) -> list[tuple[float, float]]:
    """Write clips of one rate one after the other; seconds at which the transitions start and end."""
    between = round(TRANSITIONS[transition] * rate)
    film, transitions = [parts[0]], []
    length = len(parts[0])
    for part in parts[1:]:
        if between:
            last, first = film[-1][-1].astype(float), part[0].astype(float)
            shares = (np.arange(between) + 1) / (between + 1)
            mixed = [
                (1 - share) * last + share * first
                if transition == "dissolve"
                else max(1 - 2 * share, 0) * last + max(2 * share - 1, 0) * first
                for share in shares.tolist()
            ]
            film.append(np.stack(mixed).round().astype(np.uint8))
        transitions.append((float(length / rate), float((length + between) / rate)))
        film.append(part)
        length += between + len(part)
    write_video(path, np.concatenate(film), rate=rate, quality=QUALITY)
    return transitions


def figures(folder: Path, films: int, transition: str, camera: str) -> list[dict[str, Any]]:
    """Precision and recall at each threshold, and how long the shots are."""
    rng = np.random.default_rng(0)
    counts = {
        threshold: np.zeros(4, dtype=int) for threshold in THRESHOLDS
    }  # found, right, true, true ones found
    lengths: dict[float, list[float]] = {threshold: [] for threshold in THRESHOLDS}
    with tempfile.TemporaryDirectory() as temporary:
        for number in range(films):
            taken = clips(folder, CLIPS_A_FILM, rng)
            rate = taken[0][1]
            parts = [moved(frames, rate, CAMERAS[camera], rng) for frames, _ in taken]
            path = Path(temporary, f"{number}.mp4")
            true = np.array(make_film(path, parts, rate, transition))
            grid = GridFrames(path, STEP, (0, None), cuts_from=min(THRESHOLDS))
            for _ in grid:
                pass
            for threshold in THRESHOLDS:
                cuts = grid.cuts[grid.cuts[:, 1] >= threshold]
                is_right = (cuts[:, :1] >= true[:, 0] - NEAR) & (cuts[:, :1] <= true[:, 1] + NEAR)
                counts[threshold] += [
                    len(cuts),
                    is_right.any(axis=1).sum(),
                    len(true),
                    is_right.any(axis=0).sum(),
                ]
                spans = shot_spans(cuts, grid.seconds, least_at_an_end=SHORTEST)
                lengths[threshold] += np.diff(spans, axis=1)[:, 0].tolist()
    return [
        {
            "transition": transition,
            "camera": camera,
            "threshold": threshold,
            "transitions": int(true_ones),
            "recall": round(int(there) / int(true_ones), 3),
            "precision": round(int(right) / int(found), 3) if found else None,
            "median_seconds_of_a_shot": round(float(np.median(lengths[threshold])), 2),
        }
        for threshold, (found, right, true_ones, there) in counts.items()
    ]


def main() -> None:
    """Parse the command line, measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", nargs="+", metavar="NAME=FOLDER", help="clips that films are made of")
    parser.add_argument("--films", type=int, default=6, help="of each kind, from each folder")
    parser.add_argument("--name", default="cuts", help="of the file in benchmarks/results")
    arguments = parser.parse_args()
    results: dict[str, list[dict[str, Any]]] = {}
    for given in arguments.clips:
        name, _, folder = given.partition("=")
        results[name] = [
            row
            for transition in TRANSITIONS
            for camera in CAMERAS
            for row in figures(Path(folder), arguments.films, transition, camera)
        ]
        show(name, results[name])
    write_result(
        arguments.name,
        {
            "films": arguments.films,
            "shortest": SHORTEST,
            "longest": LONGEST,
            "clips": results,
            "machine": machine(),
        },
    )


def show(name: str, rows: list[dict[str, Any]]) -> None:
    """Print a table."""
    table = Table(
        "transition", "camera", *(f"{threshold:g}: recall, precision" for threshold in THRESHOLDS), title=name
    )
    for transition in TRANSITIONS:
        for camera in CAMERAS:
            own = [row for row in rows if (row["transition"], row["camera"]) == (transition, camera)]
            table.add_row(transition, camera, *(f"{row['recall']}, {row['precision']}" for row in own))
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
