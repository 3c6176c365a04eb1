"""The training loop of both phases."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssvh_model.clustering.anchors import Granularity
from ssvh_model.progress import Progress, part_of
from ssvh_model.training.checkpoint import CheckpointFolder, History, ModelConfig, restore_trainer
from ssvh_model.training.trainer import Trainer


@dataclass(frozen=True)
class Phase:
    """What is trained, and how long.

    Attributes:
        name: "warmup", or "round-1", "round-2", ... of the second phase.
        epochs: of this phase.
        refresh_every: epochs between two clusterings within a round; no meaning for the warm-up.
        checkpoint_every: epochs between two checkpoints.
        measure_every: epochs between two measurements (validation, state of the sampler); the last epoch is
            always measured.
    """

    name: str
    epochs: int
    refresh_every: int
    checkpoint_every: int
    measure_every: int


def train_phase(
    trainer: Trainer,
    config: ModelConfig,
    phase: Phase,
    *,
    start: Path | None,
    initialize: Callable[[Trainer], dict[str, float]],
    anchors: Sequence[Granularity],
    refresh: Callable[[Trainer], Sequence[Granularity]],
    measure: Callable[[Trainer], dict[str, float]],
    on_epoch: Callable[[dict[str, Any], float], None],
    checkpoints: CheckpointFolder,
    progress: Progress,
) -> Path:
    """Train one phase to its end; an interrupted one goes on from its newest checkpoint.

    Args:
        trainer: freshly made; its state is replaced by a checkpoint's where there is one.
        config: what the model was built from, written into every checkpoint.
        phase: name, length and rhythm.
        start: the checkpoint of the phase before; None for the warm-up.
        initialize: makes the starting weights of a warm-up that begins; later phases have theirs from
            `start`. Named values that it returns are added to the first epoch's row.
        anchors: the clusterings that the phase begins with; empty for the warm-up, which has no P2Set term.
        refresh: makes new clusterings with the present weights.
        measure: named values to add to an epoch's row, such as the validation GMAP. What the weights settle
            without training, such as the compression of longer codes, it may set: every last epoch is
            measured before its checkpoint is written.
        on_epoch: is given each row of the history, those of an interrupted run too, and the seconds that the
            epoch took (0 for rows that were trained before).
        checkpoints: where this phase's own checkpoints are.
        progress: told the videos that are done, over all epochs of the phase.

    Returns:
        The folder of the last checkpoint.
    """
    history: History = []
    beginning: dict[str, float] = {}
    resumed = checkpoints.newest()
    if resumed is not None:
        history = restore_trainer(resumed, trainer)
    else:
        if start is not None:
            history = restore_trainer(start, trainer)
        else:
            beginning = initialize(trainer)
            trainer.first_weights = trainer.weights()
        trainer.granularities = [clusters.to(trainer.device) for clusters in anchors]

    videos = len(trainer.videos)
    own = [row for row in history if row["phase"] == phase.name]
    for row in own:
        on_epoch(row, 0.0)
    for done in range(len(own), phase.epochs):
        began = time.perf_counter()
        if anchors and done and done % phase.refresh_every == 0:
            trainer.granularities = [clusters.to(trainer.device) for clusters in refresh(trainer)]
        losses = trainer.train_epoch(
            part_of(progress, before=done * videos, total=phase.epochs * videos), warmup=start is None
        )
        row = {"epoch": trainer.epoch, "phase": phase.name, **losses, **beginning}
        beginning = {}
        last = done + 1 == phase.epochs
        if last or (done + 1) % phase.measure_every == 0:
            row.update(measure(trainer))
        history.append(row)
        if trainer.ranks.first and (last or (done + 1) % phase.checkpoint_every == 0):
            checkpoints.save(trainer, config, history)
        on_epoch(row, time.perf_counter() - began)
    trainer.ranks.wait_for_all()
    finished = checkpoints.newest()
    assert finished is not None, "a phase has at least one epoch, and the last one is always saved"
    return finished
