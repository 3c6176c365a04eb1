"""The work of one stage on made-up videos or features, in a process of its own that is refused memory above a
limit.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from ssvh_model.clustering.anchors import load_anchors, save_anchors
from ssvh_model.features import FeatureFile
from ssvh_model.manifest import read_manifest
from ssvh_model.progress import no_progress
from ssvh_model.retrieval.report import evaluate_hasher
from ssvh_model.training.checkpoint import load_hasher
from ssvh_model.training.encoded import mean_features
from ssvh_model.video.extraction import extract_features
from tasks.extraction.chosen_backbone import chosen_backbone
from tasks.params.load import load_params
from tasks.training.both_phases import train_warmup
from tasks.training.phase import run_phase
from tasks.training.settings import training_session, video_set

VIDEOS, MANIFEST, FEATURES = Path("videos"), Path("manifest.csv"), Path("features.h5")
WARM, ANCHORS, ROUND = Path("states/warmup"), Path("states/anchors"), Path("states/round-1")


def peak() -> int:
    """Most bytes that this process has had in memory."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    return 1024 * int(line.split()[1])


def features() -> None:
    params = load_params()
    extract_features(
        read_manifest(MANIFEST),
        VIDEOS,
        chosen_backbone(params),
        frames=params.features.frames,
        batch_size=params.features.batch_size,
        thumbnail=params.features.thumbnail,
        folder=Path("extracted"),
        workers=1,
        progress=no_progress,
    )


def warmup() -> None:
    params = load_params()
    train_warmup(
        training_session(params, FeatureFile(FEATURES)), params, WARM, on_epoch=lambda row, seconds: None
    )


def clusters() -> None:
    params = load_params()
    (state,) = WARM.iterdir()
    session = training_session(params, FeatureFile(FEATURES))
    save_anchors(ANCHORS, session.cluster(load_hasher(state), params.rounds["1"].clusters))


def p2set() -> None:
    params = load_params()
    (state,) = WARM.iterdir()
    run_phase(
        training_session(params, FeatureFile(FEATURES)),
        params,
        "round-1",
        epochs=params.rounds["1"].epochs,
        start=state,
        anchors=load_anchors(ANCHORS),
        counts=params.rounds["1"].clusters,
        checkpoints=ROUND,
        on_epoch=lambda row, seconds: None,
    )


def evaluate() -> None:
    params, file = load_params(), FeatureFile(FEATURES)
    (state,) = ROUND.iterdir()
    hasher = load_hasher(state)
    evaluate_hasher(
        video_set(params, hasher, file, file.rows("query")),
        video_set(params, hasher, file, file.rows("train", "validation")),
        train_features=mean_features(file, file.rows("train")),
        exclude_self=True,
        itq_seed=params.seed,
    )


STAGES = {work.__name__: work for work in (features, warmup, clusters, p2set, evaluate)}  # in their order

if __name__ == "__main__":
    name, limit = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_DATA, (int(limit), int(limit)))
    STAGES[name]()
    print(peak())
