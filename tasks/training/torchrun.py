"""A phase of training by several processes, one a GPU, which torchrun starts: `running.gpus` above 1.

The stage's own process stays apart from them: it holds the MLflow and the Prefect run and reads what the
first of them tells, a line of JSON an epoch. They find the phase's checkpoints as one process would, so that
a killed run goes on with any number of GPUs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ssvh_model.clustering.anchors import Granularity, save_anchors
from ssvh_model.errors import UserError
from ssvh_model.features import FeatureFile
from ssvh_model.progress import Progress
from ssvh_model.training.checkpoint import CheckpointFolder
from ssvh_model.training.phase import Phase
from tasks.machine.process_tree import kill_with_variable
from tasks.machine.processes import Started
from tasks.params.sections import Params

ORDER_VARIABLE = (
    "SSVH_TRAINING_ORDER"  # in the environment of all processes of a phase: the file with what they are told
)
SECONDS_BETWEEN_LOOKS = 0.1


@dataclass(frozen=True)
class JointTraining:
    """What the processes are told, as JSON.

    Attributes:
        params: content of params.yaml.
        features: feature file, and the splits of its rows, which may not be those in the file.
        splits: of its rows.
        phase: fields of `Phase`.
        counts: clusters that each refreshing makes.
        checkpoints: folder of the phase's checkpoints.
        start: folder of the checkpoint that the phase begins with; None for the warm-up.
        anchors: file of the anchors that the phase begins with; None without any.
        told: file that the first process appends to.
        starter: number and starting time of the process that wants all this.
    """

    params: dict[str, Any]
    features: str
    splits: list[str]
    phase: dict[str, Any]
    counts: list[int]
    checkpoints: str
    start: str | None
    anchors: str | None
    told: str
    starter: tuple[int, float]


def train_together(
    params: Params,
    features: FeatureFile,
    phase: Phase,
    *,
    counts: Sequence[int],
    start: Path | None,
    anchors: Sequence[Granularity],
    checkpoints: Path,
    on_epoch: Callable[[dict[str, Any], float], None],
    progress: Progress,
) -> Path:
    """Train a phase with `running.gpus` processes on this machine; returns the folder of its last checkpoint.

    Args:
        params: of the training.
        features: the feature file, with the splits that count.
        phase, counts, start, anchors, on_epoch, progress: as in `TrainingSession.run_phase`.
        checkpoints: folder of the phase's checkpoints; the log of the processes is beside them.

    Raises:
        UserError: what one of them raised, or one of them has ended without a reason; the message names the
            log.
    """
    folder = checkpoints.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    anchors_file, file, log = (
        folder / "together.safetensors",
        folder / "together.json",
        folder / "together.log",
    )
    told = folder / "together.jsonl"
    for old in (told, *folder.glob("failed-*.json")):
        old.unlink(missing_ok=True)
    if anchors:
        save_anchors(anchors_file, anchors)
    this = Started.this()
    order = JointTraining(
        params=params.model_dump(mode="json", by_alias=True),
        features=str(features.path),
        splits=features.splits,
        phase=asdict(phase),
        counts=list(counts),
        checkpoints=str(folder),
        start=str(start) if start else None,
        anchors=str(anchors_file) if anchors else None,
        told=str(told),
        starter=(this.pid, this.started),
    )
    file.write_text(json.dumps(asdict(order)))
    process = _torchrun(params.running.gpus, file, log)
    try:
        for kind, *values in _lines(told, process):
            if kind == "epoch":
                on_epoch(*values)
            else:
                progress(*values)
    finally:
        # Not its children: where torchrun itself was killed, the processes that it started have another
        # parent.
        kill_with_variable(ORDER_VARIABLE, str(file))
        process.wait()
    for failed in sorted(folder.glob("failed-*.json")):
        raise UserError(json.loads(failed.read_text()))
    if process.returncode != 0:
        raise UserError(
            f"running.gpus: one of {params.running.gpus} processes has ended with status {process.returncode}; {log} says why"
        )
    finished = CheckpointFolder(checkpoints).newest()
    assert finished is not None, "a phase that was trained has a checkpoint"
    return finished


def _torchrun(processes: int, file: Path, log: Path) -> subprocess.Popen[bytes]:
    threads = max(1, (os.cpu_count() or 1) // processes)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), "-m", "tasks.training.rank", str(file)]
    with open(log, "ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                ORDER_VARIABLE: str(file),
                "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
            },
        )


def _lines(path: Path, process: subprocess.Popen[bytes]) -> Iterator[list[Any]]:
    """The lines of a growing file until the process has ended and all is read."""
    place, rest = 0, b""
    while True:
        ended = process.poll() is not None
        if path.is_file():
            with open(path, "rb") as file:
                file.seek(place)
                new = file.read()
            place += len(new)
            *whole, rest = (rest + new).split(b"\n")
            yield from (json.loads(line) for line in whole)
        if ended:
            return
        time.sleep(SECONDS_BETWEEN_LOOKS)
