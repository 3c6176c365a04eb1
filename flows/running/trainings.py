"""Many trainings, each a Prefect task run, in processes beside each other; what is finished stays
finished.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import as_completed
from prefect.states import Completed, Failed, State

from flows.running.ending import bad_input
from ssvh_model.errors import UserError
from tasks.experiments.one_training import OneTraining, load_result
from tasks.experiments.record import is_finished
from tasks.experiments.run import begin_process, run_training
from tasks.machine.processes import Started, kill_children
from tasks.machine.progress import duration
from tasks.records.store import Store

if TYPE_CHECKING:
    from prefect.futures import PrefectFuture


def run_trainings(
    trainings: Sequence[OneTraining], *, folder: Path, parent: str, workers: int
) -> State[Any] | None:
    """Run what is not finished. Called within a flow; its task runner decides how many run at once.

    Args:
        trainings: what is wanted.
        folder: of the experiment.
        parent: its MLflow run.
        workers: processes.

    Returns:
        The first failure, with its reason in a line; None if every training has a result. One that fails does
        not keep the others from being finished.
    """
    logger = get_run_logger()
    store = Store()
    store.send_left_behind()  # how trainings ended may wait there
    waiting = []
    for training in trainings:
        result = load_result(training)
        if result is not None and is_finished(store, folder, training):
            logger.info("%s: GMAP %.4f, finished before", training.label, result.gmap)
        else:
            waiting.append(training)
    if not waiting:
        return None

    threads = max(1, (os.cpu_count() or 1) // workers)
    began = time.monotonic()
    failure: State[Any] | None = None
    pool = ProcessPoolExecutor(
        min(workers, len(waiting)),
        mp_context=get_context("spawn"),
        initializer=begin_process,
        initargs=(Started.this(), threads),
    )
    try:
        futures = {_submit(training, pool, folder, parent): training for training in waiting}
        for done, future in enumerate(as_completed(list(futures)), start=1):
            future.wait()  # until its state is the final one
            state: State[Any] = future.state
            training = futures[future]
            result = load_result(training)
            if not state.is_completed() or result is None:
                failure = failure or Failed(name=state.name, message=f"{training.label}: {state.message}")
                logger.error("%s failed: %s", training.label, state.message)
                continue
            spent = time.monotonic() - began
            left = len(waiting) - done
            rest = f", about {duration(spent / done * left)} left" if left else ""
            logger.info(
                "%s: GMAP %.4f; %d of %d trainings in %s%s",
                training.label,
                result.gmap,
                done + len(trainings) - len(waiting),
                len(trainings),
                duration(spent),
                rest,
            )
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        kill_children()
        raise
    pool.shutdown()
    return failure


def _submit(
    training: OneTraining, pool: ProcessPoolExecutor, folder: Path, parent: str
) -> PrefectFuture[Any]:
    """Start a training as a task run that waits for the process that does it."""

    def body() -> State[Any]:
        try:
            pool.submit(run_training, training, folder, parent).result()
        except UserError as error:
            return bad_input(error)
        except BrokenProcessPool:
            return Failed(
                message="its process was killed; start the same command again, it goes on from the last checkpoint"
            )
        return Completed(message=training.label)

    name = training.label
    stage: Any = task(name=name, task_run_name=name, cache_policy=NO_CACHE, persist_result=False)(body)
    return stage.submit()
