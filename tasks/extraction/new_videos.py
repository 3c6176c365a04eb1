"""Watching the videos, in a folder or a bucket: what is new since the last run of the pipeline, and whether
that is a reason to train again.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssvh_model.errors import UserError
from ssvh_model.files import atomic_path
from ssvh_model.manifest import Video, read_manifest, write_manifest
from tasks import paths
from tasks.extraction.chosen_extractor import open_extraction
from tasks.extraction.earlier import earlier_features, keep_features
from tasks.extraction.remote_videos import check_remote_videos, notes_on_videos
from tasks.machine.device import pick_workers
from tasks.machine.progress import Say, ShownProgress
from tasks.params.sections import Params
from tasks.pipeline.work import hold_work_lock

if TYPE_CHECKING:
    from ssvh_model.retrieval.drift import Drift

FOLDER = paths.WORK / "watch"
SEEN = FOLDER / "seen.json"
NAME = "watch"


@dataclass(frozen=True)
class NewVideos:
    """What is in the folder but not in the manifest of the last run.

    Attributes:
        videos: sorted by path, with their digests; those that can't be used are left out with the reason.
        known: usable videos of the last run.
        gone: files of the last run that are not in the folder any more.
    """

    videos: tuple[Video, ...]
    known: int
    gone: int

    @property
    def usable(self) -> list[Video]:
        """Those that can be used."""
        return [video for video in self.videos if video.usable]

    @property
    def share(self) -> float:
        """Of the usable videos that there are now, 0 to 1."""
        return len(self.usable) / max(1, self.known + len(self.usable))


@dataclass(frozen=True)
class RetrainDecision:
    """Whether to train again, and why, in a line."""

    retrain: bool
    reason: str


@contextlib.contextmanager
def only_look(say: Say) -> Iterator[None]:
    """Be the only process that looks for new videos here; if another one does, say so and wait. All that
    follows is called within it.
    """

    def waiting(holder: str) -> None:
        say(f"process {holder} is looking for new videos already; waiting until it ends")

    with hold_work_lock(NAME, waiting):
        yield


def find_new_videos(params: Params, say: Say) -> NewVideos:
    """Compare the folder with the manifest of the last run, by the digests of the files.

    Only files that are new or changed since the last look are read. One that was written to in the last
    `watch.settle` seconds waits for the next time; objects of a bucket are whole when they are there.

    Raises:
        UserError: the corpus is no folder of videos, there is no such folder, or a video can't be fetched.
        ServiceAway: the bucket can't be looked at.
    """
    from ssvh_model.corpus.folder import find_videos, look_into
    from ssvh_model.video.places import RemotePlace, place_of

    if params.corpus.source != "folder":
        raise UserError(
            f"{paths.PARAMS}: corpus.source is {params.corpus.source}; allowed is folder, where new videos can turn up"
        )
    place = place_of(params.corpus.path)
    if isinstance(place, RemotePlace):
        check_remote_videos()
    elif not place.root.is_dir():
        raise UserError(f"{paths.PARAMS}: corpus.path is {place.root}, which is not a folder")
    present, _ = find_videos(place)
    # A file is looked into again when its size or its time, or an object's ETag, has changed.
    stamps: dict[str, Any]
    waiting = set[str]()
    if isinstance(place, RemotePlace):
        stamps = {path: place.folder.stamps[path] for path in present}
    else:
        stamps = {path: _stamp(place.root / path) for path in present}
        settled = 1e9 * (time.time() - params.watch.settle)
        waiting = {path for path, (_, changed) in stamps.items() if changed > settled}
    before = read_manifest(paths.FEATURES_MANIFEST) if paths.FEATURES_MANIFEST.is_file() else []
    known = {video.sha256 for video in before if video.sha256}
    seen = _read_seen()
    unread = [
        Video(id=path, path=path)
        for path in present
        if stamps[path] != seen.get(path, {}).get("stamp") and path not in waiting
    ]
    looked_at, workers = notes_on_videos(place), pick_workers(params.running.workers)
    for video in look_into(place, unread, workers, ShownProgress("files looked at", say), looked_at):
        seen[video.path] = {"stamp": stamps[video.path], "video": _as_json(video)}
    seen = {path: entry for path, entry in seen.items() if path in stamps}
    with atomic_path(SEEN) as temporary:
        temporary.write_text(json.dumps(seen))
    videos = [_from_json(seen[path]["video"]) for path in present if path in seen]
    found: dict[str, Video] = {}
    for video in videos:
        if video.sha256 not in known:
            found.setdefault(video.sha256 or video.path, video)
    there = {video.path for video in videos}
    return NewVideos(
        videos=tuple(found.values()),
        known=sum(video.usable for video in before),
        gone=sum(video.usable and video.path not in there for video in before),
    )


def extract_new(params: Params, new: Sequence[Video], say: Say) -> list[Video]:
    """Extract the features of new videos, those of earlier looks only once, and keep them for the next run of
    the pipeline.

    Returns:
        `new` after decoding. Perhaps not one of them can be read; then nothing is kept.
    """
    # They have no split yet; a feature file wants one.
    videos = [replace(video, split="database") if video.usable else video for video in new]
    with open_extraction(params, videos, FOLDER, say) as (extraction, extractor):
        extraction.make(
            extractor, progress=ShownProgress("new videos", say), earlier=earlier_features(), wait=True
        )
    videos = extraction.outcomes()
    for video in videos:
        if not video.usable:
            say(f"left out: {video.path}: {video.reason}")
    if not any(video.usable for video in videos):
        return videos
    extraction.join()
    write_manifest(FOLDER / "manifest.csv", videos)
    files = {name: FOLDER / name for name in ("features.h5", "thumbnails.h5", "shards", "manifest.csv")}
    keep_features(NAME, files, only=False)
    return videos


def new_drift(params: Params, say: Say) -> Drift:
    """How the codes of the videos that `extract_new` has extracted differ from those of the last run.

    Raises:
        UserError: the features of the last run were made with other settings than params.yaml says now.
    """
    import numpy as np

    from ssvh_model.features import FeatureFile
    from ssvh_model.retrieval.drift import measure_drift
    from tasks.training.selected import selected_hasher
    from tasks.training.settings import video_set

    last, new = FeatureFile(paths.FEATURE_FILE), FeatureFile(FOLDER / "features.h5")
    if last.meta != new.meta or last.shape[1:] != new.shape[1:]:
        raise UserError(
            f"{paths.FEATURE_FILE}: was made with other settings than section features of {paths.PARAMS} has now "
            f"({last.meta}, {last.shape[1]} frames; now {new.meta}, {new.shape[1]} frames); run the pipeline"
        )
    hasher = selected_hasher(params, paths.state(params.last_state))

    def codes(file: FeatureFile, rows: np.ndarray, what: str) -> np.ndarray:
        return video_set(params, hasher, file, rows, ShownProgress(what, say)).codes

    trained = codes(last, last.rows("train"), "training videos encoded")
    return measure_drift(
        codes(new, np.arange(len(new)), "new videos encoded"),
        trained,
        codes(last, last.rows("validation"), "validation videos encoded")
        if "validation" in last.splits
        else trained[:0],
        radius=round(params.watch.radius * params.model.bits),
    )


def decide(params: Params, new: NewVideos, drift: Drift | None) -> RetrainDecision:
    """Whether the new videos are many, or of another kind.

    Args:
        params: section watch has the thresholds.
        new: what was found.
        drift: of their codes; None where it was not measured.
    """
    limits, count = params.watch, len(new.usable)
    many = f"{count} new of {new.known + count} videos, {new.share:.1%}"
    if new.share >= limits.retrain_share and count:
        return RetrainDecision(True, f"{many}; watch.retrain_share is {limits.retrain_share:.1%}")
    if drift is None:
        return RetrainDecision(False, many)
    if drift.bit_shift > limits.bit_shift:
        return RetrainDecision(
            True, f"{many}, drifted: bit shift {drift.bit_shift:.3f}; watch.bit_shift is {limits.bit_shift:g}"
        )
    if drift.unseen_more > limits.unseen_codes:
        return RetrainDecision(
            True,
            f"{many}, drifted: {drift.unseen:.1%} unseen codes, {drift.unseen_before:.1%} of known videos; "
            f"watch.unseen_codes is {limits.unseen_codes:.1%}",
        )
    return RetrainDecision(False, f"{many}, of the same kind")


def _stamp(path: Path) -> list[int]:
    try:
        status = path.stat()
    except OSError:
        return [0, 0]
    return [status.st_size, status.st_mtime_ns]


def _read_seen() -> dict[str, dict]:
    try:
        return dict(json.loads(SEEN.read_text()))
    except (OSError, ValueError):
        return {}


def _as_json(video: Video) -> dict[str, object]:
    fields = asdict(video)
    return {name: fields[name] for name in ("id", "path", "frames", "duration", "status", "reason", "sha256")}


def _from_json(fields: dict[str, object]) -> Video:
    return Video(**fields)  # type: ignore[arg-type]
