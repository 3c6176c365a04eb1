"""What MLflow is told about the data that a stage used or made."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ssvh_model.files import sha256_of
from ssvh_model.manifest import read_manifest
from tasks import paths
from tasks.records.stage_run import StageRun


def log_corpus(run: StageRun, context: str, digest: str) -> None:
    """Log the corpus as a data set; `context` is "input" or "output"."""
    _log(run, context, "corpus", paths.CORPUS_MANIFEST, digest)


def log_features(run: StageRun, context: str, digest: str) -> None:
    """Log the frame features as a data set; `context` is "input" or "output"."""
    _log(run, context, "features", paths.FEATURES_MANIFEST, digest)


def _log(run: StageRun, context: str, name: str, path: Path, digest: str) -> None:
    videos = read_manifest(path)
    counts = Counter(video.split if video.usable else video.status for video in videos)
    run.log_input(
        name,
        source=path.parent,
        digest=digest or sha256_of(path),
        context=context,
        profile={
            "videos": len(videos),
            **{key or "no split": count for key, count in sorted(counts.items())},
        },
    )
