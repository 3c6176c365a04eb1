"""One of the processes that train a phase together: `python -m tasks.training.rank`, started by torchrun."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch

from ssvh_model.clustering.anchors import load_anchors
from ssvh_model.errors import UserError
from ssvh_model.features import FeatureFile
from ssvh_model.training.phase import Phase
from ssvh_model.training.ranks import Ranks
from tasks import paths
from tasks.machine.processes import Started, end_with, terminate_as_interrupt
from tasks.params.load import check_params
from tasks.training.settings import training_session
from tasks.training.torchrun import JointTraining

SECONDS_BETWEEN_PROGRESS = 1.0


def main(arguments: list[str]) -> int:
    """One of the processes; torchrun's environment says which."""
    path = Path(arguments[0])
    order = JointTraining(**json.loads(path.read_text()))
    terminate_as_interrupt()
    end_with(Started(*order.starter), print)
    try:
        _train(order)
    except UserError as error:
        (path.parent / f"failed-{os.environ['RANK']}.json").write_text(json.dumps(str(error)))
        return 2
    return 0


def _train(order: JointTraining) -> None:
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
    training_session(params, file, ranks).run_phase(
        Phase(**order.phase),
        checkpoints=Path(order.checkpoints),
        start=Path(order.start) if order.start else None,
        counts=order.counts,
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
