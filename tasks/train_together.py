"""A phase of training by several processes, one a GPU, which torchrun starts: `running.gpus` above 1.

The stage's own process stays apart from them: it holds the MLflow and the Prefect run and reads what the first of them tells, a line of
JSON an epoch. They find the phase's checkpoints as one process would, so that a killed run goes on with any number of GPUs.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ssvh_model.clustering.anchors import Granularity, load_anchors, save_anchors
from ssvh_model.errors import UserError
from ssvh_model.features import FeatureFile
from ssvh_model.progress import Progress
from ssvh_model.training.checkpoint import CheckpointFolder
from tasks.params import Params
from tasks.process_tree import kill_with_variable
from tasks.processes import Started, end_with, terminate_as_interrupt

ORDER_VARIABLE = (
    "SSVH_TRAINING_ORDER"  # in the environment of all processes of a phase: the file with what they are told
)
SECONDS_BETWEEN_LOOKS = 0.1
SECONDS_BETWEEN_PROGRESS = 1.0


@dataclass(frozen=True)
class Together:
    """What the processes are told, as JSON.

    Attributes:
        params: content of params.yaml.
        features: feature file, and the splits of its rows, which may not be those in the file.
        splits: of its rows.
        phase: arguments of `TrainingSession.run_phase`, with paths as text.
        anchors: file of the anchors that the phase begins with; None without any.
        told: file that the first process appends to.
        starter: number and starting time of the process that wants all this.
    """

    params: dict[str, Any]
    features: str
    splits: list[str]
    phase: dict[str, Any]
    anchors: str | None
    told: str
    starter: tuple[int, float]


def train_together(
    params: Params,
    features: FeatureFile,
    phase: dict[str, Any],
    *,
    start: Path | None,
    anchors: Sequence[Granularity],
    checkpoints: CheckpointFolder,
    on_epoch: Callable[[dict[str, Any], float], None],
    progress: Progress,
) -> Path:
    """Train a phase with `running.gpus` processes on this machine; returns the folder of its last checkpoint.

    Args:
        params: of the training.
        features: the feature file, with the splits that count.
        phase: arguments of `TrainingSession.run_phase` that go as they are.
        start, anchors, on_epoch, progress: as there.
        checkpoints: where the phase's checkpoints are; the log of the processes is beside them.

    Raises:
        UserError: what one of them raised, or one of them has ended without a reason; the message names the log.
    """
    folder = checkpoints.path.resolve()
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
    order = Together(
        params=params.model_dump(mode="json", by_alias=True),
        features=str(features.path),
        splits=features.splits,
        phase={**phase, "checkpoints": str(folder), "start": str(start) if start else None},
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
        # Not its children: where torchrun itself was killed, the processes that it started have another parent.
        kill_with_variable(ORDER_VARIABLE, str(file))
        process.wait()
    for failed in sorted(folder.glob("failed-*.json")):
        raise UserError(json.loads(failed.read_text()))
    if process.returncode != 0:
        raise UserError(
            f"running.gpus: one of {params.running.gpus} processes has ended with status {process.returncode}; {log} says why"
        )
    finished = checkpoints.newest()
    assert finished is not None, "a phase that was trained has a checkpoint"
    return finished


def _torchrun(processes: int, file: Path, log: Path) -> subprocess.Popen[bytes]:
    threads = max(1, (os.cpu_count() or 1) // processes)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    command += ["--master-addr", "127.0.0.1", "--master-port", str(_free_port())]
    command += ["-m", "tasks.train_together", str(file)]
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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main(arguments: list[str]) -> int:
    """One of the processes; torchrun's environment says which."""
    path = Path(arguments[0])
    order = Together(**json.loads(path.read_text()))
    terminate_as_interrupt()
    end_with(Started(*order.starter), print)
    try:
        _train(order)
    except UserError as error:
        (path.parent / f"failed-{os.environ['RANK']}.json").write_text(json.dumps(str(error)))
        return 2
    return 0


def _train(order: Together) -> None:
    import torch

    from ssvh_model.training.ranks import Ranks
    from tasks import paths
    from tasks.params import check_params
    from tasks.training import TrainingSession

    params = check_params(order.params, paths.PARAMS)
    on_gpu = params.running.device != "cpu" and torch.cuda.is_available()
    if on_gpu:
        local, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= there:
            raise UserError(
                f"{paths.PARAMS}: running.gpus is {params.running.gpus}; this machine has {there}"
            )
        torch.cuda.set_device(local)
    torch.distributed.init_process_group("nccl" if on_gpu else "gloo")
    ranks = Ranks(torch.distributed.get_rank(), torch.distributed.get_world_size())
    file = FeatureFile(Path(order.features))
    file.splits[:] = order.splits
    teller = _Teller(Path(order.told)) if ranks.first else None
    phase = {
        **order.phase,
        "checkpoints": Path(order.phase["checkpoints"]),
        "start": Path(order.phase["start"]) if order.phase["start"] else None,
    }
    TrainingSession(params, file, ranks).run_phase(
        **phase,
        anchors=load_anchors(Path(order.anchors)) if order.anchors else (),
        on_epoch=teller.epoch if teller else lambda row, seconds: None,
        progress=teller.progress if teller else lambda done, total: None,
    )
    torch.distributed.destroy_process_group()


class _Teller:
    """Appends a line of JSON for every epoch, and for the progress now and then."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "a")  # noqa: SIM115 - for as long as the process lives
        self._last = 0.0

    def epoch(self, row: dict[str, Any], seconds: float) -> None:
        self._tell("epoch", row, seconds)

    def progress(self, done: int, total: int) -> None:
        if done < total and time.monotonic() - self._last < SECONDS_BETWEEN_PROGRESS:
            return
        self._last = time.monotonic()
        self._tell("progress", done, total)

    def _tell(self, *line: Any) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
