"""Feature extraction fanned out: processes of this machine make shards until none is left.

`ssvh extract` starts it; several machines work through Ray (`running.extraction`). The stage `features` finds
the shards and joins them; whatever is missing then, because a process died, it makes.
"""

from __future__ import annotations

import sys
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, Failed, State
from prefect.task_runners import ThreadPoolTaskRunner

from flows.running.ending import bad_input, exit_status
from flows.running.environment import prepare_environment, refuse_nested
from flows.running.reproduce import reproduce
from ssvh_model.errors import UserError
from tasks.extraction.share import extract_share
from tasks.machine import programs

SHARE = "extract-share"


@flow(name=SHARE, persist_result=False)
def share() -> State[Any]:
    """One process's share: every shard that nobody else is making."""
    logger = get_run_logger()
    prepare_environment()
    try:
        done = extract_share(logger.info)
    except UserError as error:
        return bad_input(error)
    return Completed(message=f"{done.made} shards made here, {done.finished} of {done.total} are finished")


@flow(name="extract", persist_result=False)
def extract(workers: int = 2) -> State[Any]:
    """Bring the corpus up to date and extract its features with several processes.

    Args:
        workers: how many.

    Returns:
        Completed, or Failed with the reason in one line.
    """
    logger = get_run_logger()
    prepare_environment()
    try:
        refuse_nested()
    except UserError as error:
        return bad_input(error)
    if reproduce("corpus") != 0:
        return Failed(message="stage corpus failed")
    shares = [
        _process.with_options(task_run_name=f"share-{number}").submit(number)
        for number in range(1, workers + 1)
    ]
    states = [future.wait() or future.state for future in shares]
    if failed := [state for state in states if not state.is_completed()]:
        for state in failed:
            logger.error("a share failed: %s", state.message)
        return Failed(message=f"{failed[0].message}; the shards that are finished are kept")
    return Completed(message="the shards are made; the stage features joins them")


@task(cache_policy=NO_CACHE, persist_result=False)
def _process(number: int) -> State[Any]:
    """A process of this machine."""
    status = programs.run([sys.executable, "-m", "flows.extract", SHARE], extra={})
    return Completed() if status == 0 else Failed(message=f"share {number} ended with status {status}")


def main(arguments: list[str]) -> int:
    """Run a share, or the whole with so many workers; 0 if all went well, 2 after bad input, 1 after anything
    else.
    """
    prepare_environment()
    if arguments == [SHARE]:
        state = share(return_state=True)
    else:
        workers = int(arguments[0])
        runner: Any = ThreadPoolTaskRunner(max_workers=workers)
        state = extract.with_options(task_runner=runner)(workers=workers, return_state=True)
    if state.is_completed():
        print(state.message)
    return exit_status(state)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
