"""Training from the initial weights to the last round, without stages."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ssvh_model.progress import Progress, no_progress
from ssvh_model.training.checkpoint import load_hasher
from ssvh_model.training.session import TrainingSession
from tasks.params.sections import Params
from tasks.training.phase import OnEpoch, run_phase


def train_warmup(
    session: TrainingSession,
    params: Params,
    folder: Path,
    on_epoch: OnEpoch,
    progress: Progress = no_progress,
) -> Path:
    """The first phase, or what is left of it; returns the folder of its last checkpoint.

    Args:
        session: what to train.
        params: of the session.
        folder: of its checkpoints; found again after a kill.
        on_epoch: as in `train_phase`.
    """
    epochs = params.warmup.epochs
    return run_phase(
        session, params, "warmup", epochs=epochs, checkpoints=folder, on_epoch=on_epoch, progress=progress
    )


def train_rounds(
    session: TrainingSession,
    params: Params,
    start: Path,
    folder: Path,
    on_epoch: OnEpoch,
    progress: Progress = no_progress,
) -> Path:
    """All rounds, or what is left of them, from the warm-up's state; returns the folder of the last
    checkpoint.

    Without a weight of the point-to-set loss (`losses.beta` 0) nothing is clustered. The time of a round's
    first clustering counts to its first epoch.

    Args:
        session, params, on_epoch: as for `train_warmup`.
        start: the warm-up's last checkpoint.
        folder: of the checkpoints, one folder a round in it.
    """
    state = start
    for number, settings in params.rounds.items():
        began = time.perf_counter()
        hasher = load_hasher(state).to(session.device)
        clustered = params.losses.beta > 0
        anchors = session.cluster(hasher, settings.clusters) if clustered else ()
        state = run_phase(
            session,
            params,
            f"round-{number}",
            epochs=settings.epochs,
            start=state,
            anchors=anchors,
            counts=settings.clusters,
            refresh_every=settings.refresh_every,
            checkpoints=folder / f"round-{number}",
            on_epoch=_with_clustering(on_epoch, time.perf_counter() - began),
            progress=progress,
        )
    return state


def _with_clustering(on_epoch: OnEpoch, clustering: float) -> OnEpoch:
    waiting = [clustering]

    def tell(row: dict[str, Any], seconds: float) -> None:
        # Rows that were trained before a kill have 0 seconds, and their clustering was counted then.
        on_epoch(row, seconds + waiting.pop() if seconds and waiting else seconds)

    return tell
