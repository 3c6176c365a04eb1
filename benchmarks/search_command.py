"""What `ssvh search` of one clip takes beside what can't be spared: imports, decoding and the backbone.

    python benchmarks/search_command.py
    git worktree add ../before af84965; python benchmarks/search_command.py --against ../before

Needs `make run`. Makes an index in a temporary folder by the hasher that was trained, then takes turns
starting `ssvh search` and a bare program that imports what is needed, decodes the same clip and runs the
backbone on it, each in a process of its own, on one core, in seconds of processor time. The least of each
counts. With `--against` another version of this project takes turns, too.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import machine, write_result  # isort: skip  (before torch)

from trained_index import make_trained_index

from ssvh_model.features import FeatureFile
from tasks import paths

REPOSITORY = Path(__file__).resolve().parents[1]
# What remains if nothing is hashed and nothing is searched.
BARE = """
import sys
from pathlib import Path
import torch
from ssvh_model.video.backbones import load_backbone
from ssvh_model.video.extraction import decode_for, prepared_for
name, size, engine, precision = sys.argv[2:6]
backbone = load_backbone(name, size=int(size), device=torch.device("cpu"), engine=engine, precision=precision)
backbone.features(prepared_for(backbone, decode_for(backbone, Path(sys.argv[1]), frames=int(sys.argv[6]))))
"""


def seconds_of(command: list[str]) -> dict[str, float]:
    """Processor time and time by the clock of a process that must succeed."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    counted = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"counted": counted, "clock": time.perf_counter() - began}


def search_command(version: Path, clip: Path, index: Path) -> list[str]:
    """`ssvh search` as a version of this project, in that folder, does it."""
    program = f"import os, sys; os.chdir({str(version)!r}); sys.path.insert(0, ''); from flows.cli import main; main()"
    return [sys.executable, "-c", program, "search", str(clip.resolve()), "--index", str(index)]


def main() -> None:
    """Parse the command line, measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--against", type=Path, help="folder of another version of this project")
    parser.add_argument("--name", default="search_command", help="of the file in benchmarks/results")
    arguments = parser.parse_args()
    file = FeatureFile(paths.FEATURE_FILE)
    clip = next((paths.CORPUS / "clips").glob("*.mp4"))
    with tempfile.TemporaryDirectory() as folder:
        index = make_trained_index(Path(folder))
        commands = {
            "ssvh search": search_command(REPOSITORY, clip, index),
            "imports, decoding, backbone": [
                *(sys.executable, "-c", BARE, str(clip)),
                *(file.meta.backbone, str(file.meta.size), file.meta.engine, file.meta.precision),
                str(file.shape[1]),
            ],
        }
        if arguments.against is not None:
            commands["ssvh search, the other version"] = search_command(
                arguments.against.resolve(), clip, index
            )
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
        for turn in range(arguments.repeats + 1):
            for name, command in commands.items():
                seconds = seconds_of(command)
                if turn:  # the first fills the file cache
                    taken[name].append(seconds)
    least = {
        name: {how: round(min(one[how] for one in times), 3) for how in ("counted", "clock")}
        for name, times in taken.items()
    }
    search, bare = least["ssvh search"], least["imports, decoding, backbone"]
    ratio = round(search["counted"] / bare["counted"], 3)
    for name, seconds in least.items():
        print(
            f"{name:30} {seconds['counted']:.2f} s of processor time, {seconds['clock']:.2f} s by the clock"
        )
    print(f"ratio {ratio}, by the clock {search['clock'] / bare['clock']:.3f}")
    write_result(
        arguments.name,
        {
            "seconds": least,
            "ratio": ratio,
            "ratio_by_the_clock": round(search["clock"] / bare["clock"], 3),
            "machine": machine(),
        },
    )


if __name__ == "__main__":
    main()
