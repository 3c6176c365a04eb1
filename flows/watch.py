"""The corpus watch as a Prefect flow: new videos in the folder, their features, and whether they are a reason
to train again.

`ssvh watch` starts it by hand; prefect.yaml has it on a schedule.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, Failed, State

from flows.pipeline import pipeline
from flows.running.ending import bad_input, exit_status
from flows.running.environment import ONLY_LOOK, prepare_environment, refuse_nested
from ssvh_model.errors import UserError
from ssvh_model.manifest import Video
from tasks import paths
from tasks.extraction.new_videos import (
    NewVideos,
    RetrainDecision,
    decide,
    extract_new,
    find_new_videos,
    new_drift,
    only_look,
)
from tasks.params.load import load_params
from tasks.params.sections import Params
from tasks.project.code import write_code_files
from tasks.records.looks import log_look
from tasks.records.prefect_page import show_table

if TYPE_CHECKING:
    from ssvh_model.retrieval.drift import Drift


@flow(name="watch", persist_result=False)
def watch(train: bool = True) -> State[Any]:
    """Look for new videos; extract the features of these alone; train again if there are many, or if they are
    of another kind.

    Args:
        train: run the pipeline if that is the decision; otherwise only say so.

    Returns:
        Completed, with what was found and decided in one line; or Failed with the reason.
    """
    prepare_environment()
    logger = get_run_logger()
    try:
        refuse_nested()
        params = load_params()
        # What new videos' features are kept under tells the code that makes them.
        write_code_files(logger.info)
        with only_look(logger.info):
            decision = _look(params)
    except UserError as error:
        return bad_input(error)
    logger.info("%s: %s", decision.reason, "training again" if decision.retrain else "nothing to do")
    if not decision.retrain:
        return Completed(message=decision.reason)
    if not train:
        return Completed(message=f"{decision.reason}; a training is due")
    state: State[Any] = pipeline(return_state=True)
    if state.is_completed():
        return Completed(message=f"{decision.reason}: trained again")
    return Failed(name=state.name, message=state.message)


def _look(params: Params) -> RetrainDecision:
    if not paths.FEATURES_MANIFEST.is_file():
        return RetrainDecision(True, "the pipeline has not run yet")
    new: NewVideos = scan(params)
    if new.usable:
        new = NewVideos(tuple(features(params, new)), new.known, new.gone)
    if not new.usable:
        _log(params, new, None)
        gone = f", {new.gone} are gone" if new.gone else ""
        unreadable = f", {len(new.videos)} can't be read" if new.videos else ""
        return RetrainDecision(False, f"no new videos beside the {new.known} known ones{gone}{unreadable}")
    enough = len(new.usable) >= params.watch.least_videos
    trained = paths.state(params.last_state).is_dir()
    drift = codes(params) if enough and trained else None
    _log(params, new, drift)
    return decide(params, new, drift)


def _log(params: Params, new: NewVideos, drift: Drift | None) -> None:
    """Keep the figures of this look beside those of earlier ones."""
    figures = {"videos.new": float(len(new.usable)), "videos.new_share": new.share}
    if drift is not None:
        figures |= {"drift.bit_shift": drift.bit_shift, "drift.unseen_more": drift.unseen_more}
    log_look(figures, {f"watch.{name}": value for name, value in params.watch}, get_run_logger().info)


@task(name="new videos", task_run_name="new videos", cache_policy=NO_CACHE, persist_result=False)
def scan(params: Params) -> NewVideos:
    """What the folder has that the last run did not have."""
    logger = get_run_logger()
    new = find_new_videos(params, logger.info)
    for video in new.videos[:20]:
        logger.info("new: %s%s", video.path, "" if video.usable else f", left out: {video.reason}")
    return new


@task(
    name="features of new videos",
    task_run_name="features of new videos",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def features(params: Params, new: NewVideos) -> list[Video]:
    """Extract what earlier looks have not."""
    return extract_new(params, new.videos, get_run_logger().info)


@task(name="drift", task_run_name="drift", cache_policy=NO_CACHE, persist_result=False)
def codes(params: Params) -> Drift:
    """Compare the codes of the new videos with those of the last run."""
    logger = get_run_logger()
    drift = new_drift(params, logger.info)
    limits = params.watch
    rows = [
        {"figure": "bit shift", "value": f"{drift.bit_shift:.3f}", "threshold": f"{limits.bit_shift:g}"},
        {
            "figure": "unseen codes, above known videos",
            "value": f"{drift.unseen_more:.3f}",
            "threshold": f"{limits.unseen_codes:g}",
        },
    ]
    show_table("drift", rows, f"{drift.videos} new videos", logger.info)
    return drift


def main(arguments: list[str]) -> int:
    """Run the flow and print what it found; 0 if all went well, 2 after bad input, 1 after anything else."""
    state = watch(train=ONLY_LOOK not in arguments, return_state=True)
    if state.is_completed():
        print(state.message)
    return exit_status(state)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
