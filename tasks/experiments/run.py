"""Running one training of an experiment, in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssvh_model.locks import hold_lock
from tasks.experiments.one_training import OneTraining, TrainingResult, load_result, save_result
from tasks.machine.processes import Started, end_with
from tasks.machine.threads import sleep_when_idle
from tasks.pipeline.work import link_or_copy

if TYPE_CHECKING:
    from ssvh_model.training.session import TrainingSession
    from tasks.training.phase import OnEpoch

SECONDS = "seconds.jsonl"
STATE_FOLDER = "state"

LogRow = Callable[[dict[str, Any]], None]  # takes an epoch's row

sleep_when_idle()


def begin_process(starter: Started, threads: int) -> None:
    """Prepare a process that runs trainings: it has its share of the cores, and ends when its starter is
    gone.
    """
    import torch

    # Whoever started this process ends it; a ctrl-C goes to all of them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    end_with(starter, print, every=0.5)


def run_training(training: OneTraining, folder: Path, parent: str) -> None:
    """Train, measure, keep the result and record it; after a kill, what is left of that.

    Args:
        training: what to do.
        folder: of the experiment.
        parent: its MLflow run.

    Raises:
        UserError: the features, the parameters or a service are at fault.
    """
    from tasks.experiments.record import logged_epochs, open_child
    from tasks.records.store import Store

    run = open_child(Store(), folder, parent, training)
    status = "FAILED"
    try:
        known = logged_epochs(run)

        def log(row: dict[str, Any]) -> None:
            if row["epoch"] in known:
                return
            figures = {
                ("epoch_seconds" if name == "seconds" else name): value
                for name, value in row.items()
                if isinstance(value, int | float) and name != "epoch"
            }
            run.log_metrics(figures, step=row["epoch"])

        result = load_result(training)
        if result is None:
            result = _train_and_measure(training, log)
            save_result(training, result)
        else:
            for row in result.record["history"]:
                log(row)
        run.log_metrics(final_figures(result))
        status = "FINISHED"
    finally:
        run.close(status)


def final_figures(result: TrainingResult) -> dict[str, float]:
    """What MLflow shows of a result."""
    yardsticks = result.record["yardsticks"]
    return {
        "gmap": result.gmap,
        **{f"map_at_{k}": value for k, value in result.record["map_at_k"].items()},
        **{f"{name}_gmap": value for name, value in yardsticks.items() if value is not None},
        "training_seconds": result.record["seconds"],
    }


def _train_and_measure(training: OneTraining, log: LogRow) -> TrainingResult:
    from ssvh_model.training.checkpoint import load_hasher, load_history
    from tasks.experiments.videos import measure_hasher, open_corpus
    from tasks.training.settings import training_session

    file = open_corpus(training.corpus, training.params)
    session = training_session(training.params, file)
    state = training.work / STATE_FOLDER
    if not state.is_dir():
        train_phases(training, session, log, state)
    history = _with_seconds(load_history(state), training)
    evaluation = measure_hasher(training.params, load_hasher(state), file, training.measure)
    record = evaluation.record()
    hasher = evaluation.coarse.hasher
    assert hasher is not None, "measure_hasher raises where nothing can be measured"
    return TrainingResult(
        {
            **{name: record[name] for name in ("bits", "gmap", "map_at_k", "n_query", "n_database")},
            "yardsticks": {name: one["gmap"] for name, one in record["yardsticks"].items()},
            "training_videos": len(session.videos),
            "seconds": sum(row["seconds"] for row in history),
            "history": history,
        },
        hasher.average_precision,
    )


def train_phases(training: OneTraining, session: TrainingSession, log: LogRow, state: Path) -> None:
    """Both phases, or what is left of them after a kill; then only what makes codes is kept.

    Args:
        training: what to do.
        session: of its parameters and features.
        log: is given each epoch's row, those from before a kill too; what it raises ends the training.
        state: the folder to keep the result in.
    """
    from tasks.training.both_phases import train_rounds, train_warmup

    with hold_lock(training.warmup_work / "lock"):
        warm = train_warmup(
            session, training.params, training.warmup_work, _noting(training.warmup_work, log)
        )
    last = train_rounds(session, training.params, warm, training.work, _noting(training.work, log))
    temporary = state.with_name(".state.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    # Links to what has reached the disk; copies might not be there after a power cut.
    shutil.copytree(last, temporary, copy_function=link_or_copy, ignore=shutil.ignore_patterns("training.pt"))
    os.replace(temporary, state)
    for checkpoints in training.work.glob("round-*"):
        shutil.rmtree(checkpoints)


def _noting(folder: Path, log: LogRow) -> OnEpoch:
    """Notes the seconds of every epoch, which the checkpoints do not hold, and logs the epoch."""
    seconds_of = _seconds(folder)
    folder.mkdir(parents=True, exist_ok=True)

    def on_epoch(row: dict[str, Any], seconds: float) -> None:
        if seconds:
            with open(folder / SECONDS, "a") as file:
                file.write(json.dumps([row["epoch"], seconds]) + "\n")
        log({**row, "seconds": seconds or seconds_of.get(row["epoch"], 0.0)})

    return on_epoch


def _seconds(folder: Path) -> dict[int, float]:
    """Seconds of each epoch; of one that was trained again after a kill, the last ones."""
    path = folder / SECONDS
    found: dict[int, float] = {}
    for line in path.read_text().splitlines() if path.is_file() else ():
        with contextlib.suppress(ValueError):  # a line that was cut off by a kill
            epoch, seconds = json.loads(line)
            found[epoch] = seconds
    return found


def _with_seconds(history: list[dict[str, Any]], training: OneTraining) -> list[dict[str, Any]]:
    found = _seconds(training.warmup_work) | _seconds(training.work)
    return [{**row, "seconds": found.get(row["epoch"], 0.0)} for row in history]
