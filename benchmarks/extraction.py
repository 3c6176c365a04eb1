"""How fast videos become features: the backbone in each engine, the decoder, and both together; and 25 frames
of a long file beside other decoders.

    python benchmarks/extraction.py

Everything runs in turn in this process, one thread each, in seconds of processor time, so that other work on
the machine changes ratios little. Engines that are not installed are left out, and so are torchcodec and
decord, which nothing else here needs (pip install torchcodec decord).
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

from machine import machine, processor_seconds, write_result  # isort: skip  (before torch)

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from ssvh_model.manifest import Video
from ssvh_model.model.precision import best_precision
from ssvh_model.progress import no_progress
from ssvh_model.video.backbones import Backbone, load_backbone
from ssvh_model.video.decoding import even_indices, sample_frames
from ssvh_model.video.encoding import write_video
from ssvh_model.video.engines.engine import PACKAGES
from ssvh_model.video.extraction import decode_for, extract_features, prepared_for
from ssvh_model.video.shard_extraction import encode_thumbnail
from tasks.params.load import load_params

CPU = torch.device("cpu")
CLIPS = 12
SIZES = {"demo's clips": (160, 120, 32), "camera's clips": (640, 360, 100)}  # width, height, frames
LONG = (640, 360, 3000)
RATE = Fraction(25)


def moving(width: int, height: int, frames: int, seed: int) -> np.ndarray:
    """A smooth random picture that the camera moves over, with some noise, [frames, height, width, 3]."""
    draws = np.random.default_rng(seed)
    cells = draws.integers(0, 256, (height // 20 + 14, width // 20 + 14, 3)).astype(np.float32)
    picture = torch.nn.functional.interpolate(
        torch.from_numpy(cells).permute(2, 0, 1)[None], scale_factor=20, mode="bicubic"
    )[0].permute(1, 2, 0).clamp(0, 255).numpy()  # fmt: skip
    picture = (picture + draws.normal(0, 6, picture.shape)).clip(0, 255).astype(np.uint8)
    places = np.abs((np.arange(frames) * 2) % 400 - 200)
    return np.stack([picture[place // 2 : place // 2 + height, place : place + width] for place in places])


def ways() -> list[tuple[str, str]]:
    """Engine and precision, as far as they are to be had here; the plain way first."""
    found = [("torch", "float32")]
    for engine in ("openvino", "onnxruntime"):
        if all(importlib.util.find_spec(package) for package in PACKAGES[engine]):
            found.append((engine, "float32"))
    if best_precision(CPU) == "bfloat16":
        found += [(engine, "bfloat16") for engine, _ in found if engine != "onnxruntime"]
    return found


def in_turn(works: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each, after one run that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(repeats + 1):
        for name, work in works.items():
            began = processor_seconds()
            work()
            if turn:
                seconds[name].append(processor_seconds() - began)
    return seconds


def extraction(what: str, repeats: int, folder: Path) -> list[dict[str, Any]]:
    """Rows for each engine and precision: rates in videos a second, and ratios to torch in float32."""
    features = load_params().features
    width, height, length = SIZES[what]
    videos = [Video(f"{clip}", f"{clip}.mp4", split="train") for clip in range(CLIPS)]
    for clip, video in enumerate(videos):
        write_video(folder / video.path, moving(width, height, length, clip), rate=RATE, quality=23)
    backbones = {
        way: load_backbone(features.backbone, size=features.size, device=CPU, engine=way[0], precision=way[1])
        for way in ways()
    }

    def decoded(backbone: Backbone) -> torch.Tensor:
        """The decoder's part: frames for the backbone, and thumbnails."""
        for video in videos:
            sampled = decode_for(
                backbone, folder / video.path, frames=features.frames, thumbnail=features.thumbnail
            )
            for frame in sampled.frames:
                encode_thumbnail(frame, features.thumbnail)
            prepared = prepared_for(backbone, sampled)
        return prepared

    def whole(backbone: Backbone) -> None:
        with tempfile.TemporaryDirectory() as out:
            extract_features(
                videos, folder, backbone, frames=features.frames, batch_size=features.batch_size,
                thumbnail=features.thumbnail, folder=Path(out), workers=1, progress=no_progress,
            )  # fmt: skip

    works: dict[str, Callable[[], object]] = {}
    for way, backbone in backbones.items():
        name = " ".join(way)
        frames = decoded(backbone)
        frames = torch.cat([frames] * (-(-features.batch_size // len(frames))))[: features.batch_size]
        works[f"{name} backbone"] = lambda backbone=backbone, frames=frames: backbone.features(frames)
        works[f"{name} decoder"] = lambda backbone=backbone: decoded(backbone)
        works[f"{name} whole"] = lambda backbone=backbone: whole(backbone)
    seconds = in_turn(works, repeats)
    rows = []
    for way in backbones:
        name = " ".join(way)
        middle = {part: median(seconds[f"{name} {part}"]) for part in ("backbone", "decoder", "whole")}
        ratios = {
            part: median(
                plain / own
                for plain, own in zip(
                    seconds[f"torch float32 {part}"], seconds[f"{name} {part}"], strict=True
                )
            )
            for part in middle
        }
        network = middle["backbone"] * features.frames / features.batch_size
        decoder, together = middle["decoder"] / CLIPS, middle["whole"] / CLIPS
        rows.append(
            {
                "videos": what,
                "engine": way[0],
                "precision": way[1],
                "backbone_videos_a_second": round(1 / network, 2),
                "decoder_videos_a_second": round(1 / decoder, 2),
                "videos_a_second": round(1 / together, 2),
                "backbone_ratio": round(ratios["backbone"], 2),
                "decoder_ratio": round(ratios["decoder"], 2),
                "ratio": round(ratios["whole"], 2),
                "of_the_slower_alone": round(max(network, decoder) / together, 2),
                "of_both_one_after_the_other": round((network + decoder) / together, 2),
            }
        )
    return rows


def long_file(repeats: int, folder: Path) -> dict[str, float]:
    """How many times as long others take for 25 frames, evenly in time, of a long H.264 file."""
    width, height, length = LONG
    path = folder / "long.mp4"
    write_video(path, moving(width, height, length, 0), rate=RATE, quality=23)
    wanted = even_indices(length, 25).tolist()
    works: dict[str, Callable[[], object]] = {"ours": lambda: sample_frames(path, 25)}
    with contextlib.suppress(
        ImportError, OSError, RuntimeError
    ):  # it also needs FFmpeg's libraries in the system
        from torchcodec.decoders import VideoDecoder

        works["torchcodec"] = lambda: VideoDecoder(str(path), num_ffmpeg_threads=1).get_frames_at(wanted)
    with contextlib.suppress(ImportError):
        import decord

        works["decord"] = lambda: decord.VideoReader(str(path), num_threads=1).get_batch(wanted).asnumpy()
    seconds = in_turn(works, repeats)
    return {
        name: round(median(other / own for other, own in zip(times, seconds["ours"], strict=True)), 2)
        for name, times in seconds.items()
    }


def main() -> None:
    """Parse the command line, measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--name", default="extraction", help="of the file in benchmarks/results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for what in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            rows += extraction(what, arguments.repeats, Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        others = long_file(arguments.repeats, Path(folder))
    table = Table("videos", "engine", "backbone", "decoder", "both", "backbone x", "decoder x", "both x")
    table.add_column("of the slower alone")
    for row in rows:
        table.add_row(
            row["videos"], f"{row['engine']} {row['precision']}", *map(str, list(row.values())[3:10])
        )
    console = Console(width=120)
    console.print("videos a second of one core's time, and times as fast as torch in float32")
    console.print(table)
    for name, ratio in others.items():
        print(f"25 frames of a long H.264 file: {name} takes {ratio} times as long as ours")
    write_result(arguments.name, {"rows": rows, "long_file": others, "machine": machine()})


if __name__ == "__main__":
    main()
