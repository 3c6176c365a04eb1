"""A phase of training: by this process, or by several that torchrun starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ssvh_model.clustering.anchors import Granularity
from ssvh_model.progress import Progress, no_progress
from ssvh_model.training.session import TrainingSession
from tasks.params.sections import Params
from tasks.training.settings import phase
from tasks.training.torchrun import train_together

OnEpoch = Callable[[dict[str, Any], float], None]


def run_phase(
    session: TrainingSession,
    params: Params,
    name: str,
    *,
    epochs: int,
    checkpoints: Path,
    on_epoch: OnEpoch,
    progress: Progress = no_progress,
    start: Path | None = None,
    anchors: Sequence[Granularity] = (),
    counts: Sequence[int] = (),
    refresh_every: int = 1,
) -> Path:
    """Train one phase, or go on with it; with `running.gpus` above 1 by so many processes.

    Args:
        session: made of `params`.
        name, epochs, refresh_every: as in `Phase`.
        checkpoints, on_epoch, progress, start, anchors, counts: as in `TrainingSession.run_phase`.

    Returns:
        The folder of its last checkpoint.

    Raises:
        UserError: one of several processes ended, or raised it.
    """
    what = phase(params, name, epochs=epochs, refresh_every=refresh_every)
    if params.running.gpus > 1:
        return train_together(
            params,
            session.file,
            what,
            counts=counts,
            start=start,
            anchors=anchors,
            checkpoints=checkpoints,
            on_epoch=on_epoch,
            progress=progress,
        )
    return session.run_phase(
        what,
        checkpoints=checkpoints,
        on_epoch=on_epoch,
        progress=progress,
        start=start,
        anchors=anchors,
        counts=counts,
    )
