"""Stage corpus: which videos there are, and which split each belongs to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ssvh_model.errors import UserError
from ssvh_model.manifest import LEAST_TRAINING_VIDEOS, Video, write_manifest
from tasks import paths
from tasks.machine.device import pick_workers
from tasks.pipeline.open_stage import open_stage
from tasks.pipeline.stage import Stage
from tasks.pipeline.stage_task import stage_task

if TYPE_CHECKING:
    from ssvh_model.corpus.splits import SplitSpec

MOST_NAMED = 10  # videos that are left out, a line each


@stage_task(tags=("data",))
def corpus() -> None:
    """Render the demo corpus, scan the user's folder or find published feature files; write the manifest with
    its splits.
    """
    from ssvh_model.corpus.splits import SplitSpec, assign_splits
    from tasks.records.data_sets import log_corpus

    with open_stage("corpus") as stage:
        made = stage.work.folder / "corpus"
        source = stage.params.corpus.source
        if source != "published" and stage.params.running.extraction == "ray":
            from tasks.on_ray.cluster import check_cluster

            check_cluster(stage.params.running.ray.address)
        shares = stage.params.corpus.split
        spec = SplitSpec(
            validation=shares.validation,
            database=shares.database,
            query=shares.query,
            validation_groups=shares.validation_groups,
            query_groups=shares.query_groups,
        )
        if source == "published":
            videos = _published(stage, made, spec)
        else:
            videos = assign_splits(_videos(stage, made), spec, seed=stage.params.seed)

        _check_training_videos(videos)
        _check_selection(stage.params.selection, videos)
        manifest = made / "manifest.csv"
        write_manifest(manifest, videos)
        publish = {paths.CORPUS_MANIFEST: manifest}
        if source == "arcade":
            publish[paths.CORPUS / "clips"] = made / "clips"
        if source == "published":
            publish[paths.CORPUS_SOURCES] = made / paths.CORPUS_SOURCES.name
        stage.work.publish(publish)

        log_corpus(stage.run, "output", "")
        stage.run.log_artifact(manifest)
        counts = Counter(video.split if video.usable else video.status for video in videos)
        stage.run.log_metrics({f"videos.{name or 'no split'}": count for name, count in counts.items()})
        stage.say(f"{len(videos)} videos: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
        left_out = [video for video in videos if not video.usable]
        for video in left_out[:MOST_NAMED]:
            stage.say(f"left out: {video.path}: {video.reason}")
        if (more := len(left_out) - MOST_NAMED) > 0:
            stage.say(f"left out: {more} more, with their reasons in {manifest}")


def _check_training_videos(videos: Sequence[Video]) -> None:
    """Raises UserError where training could not begin: better now than after hours of extraction."""
    usable = [video for video in videos if video.usable]
    training = sum(video.split == "train" for video in usable)
    if training < LEAST_TRAINING_VIDEOS:
        raise UserError(
            f"corpus: {training} of {len(usable)} usable videos for training; allowed are at least {LEAST_TRAINING_VIDEOS}: "
            "add videos, or lower the shares in corpus.split"
        )


def _check_selection(selection: str, videos: Sequence[Video]) -> None:
    """Raises UserError where labels are to select and there are none."""
    labelled = {video.split for video in videos if video.usable and video.labels}
    for name, split in (("validation", "validation"), ("training", "train")):
        if selection == "labels" and split not in labelled:
            raise UserError(
                f"{paths.PARAMS}: selection is labels, but no {name} video has a label; allowed are auto, label_free and end"
            )


def _videos(stage: Stage, folder: Path) -> list[Video]:
    corpus = stage.params.corpus
    workers = pick_workers(stage.params.running.workers)
    if corpus.source == "arcade":
        from ssvh_model.corpus.arcade import ArcadeSpec, render_arcade

        spec = ArcadeSpec(**corpus.arcade.model_dump())
        return render_arcade(
            spec, folder, seed=stage.params.seed, workers=workers, progress=stage.progress("clips")
        )
    from ssvh_model.corpus.folder import FolderColumns, scan_folder
    from ssvh_model.video.places import place_of
    from tasks.extraction.remote_videos import notes_on_videos

    place = place_of(corpus.path)
    return scan_folder(
        place,
        labels_csv=corpus.folder.labels_csv,
        columns=FolderColumns(**corpus.folder.columns.model_dump()),
        workers=workers,
        progress=stage.progress("videos"),
        looked_at=notes_on_videos(place),
    )


def _published(stage: Stage, folder: Path, spec: SplitSpec) -> list[Video]:
    """Videos with the splits of their protocol; the list of feature files goes to `folder`."""
    from ssvh_model.corpus.published.sources import read_published, write_sources

    corpus = stage.params.corpus
    videos, sources = read_published(
        Path(corpus.path),
        corpus.published.dataset,
        check_counts=corpus.published.counts == "check",
        split=spec,
        seed=stage.params.seed,
        progress=stage.progress("megabytes"),
    )
    write_sources(folder / paths.CORPUS_SOURCES.name, sources)
    if spec.validation and not any(video.labels for video in videos if video.split == "validation"):
        stage.say(
            "these training videos have no labels: nothing can be measured on validation videos, so that "
            "corpus.split.validation only takes videos from the training"
        )
    return videos
