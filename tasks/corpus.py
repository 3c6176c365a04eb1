"""Stage corpus: which videos there are, and which split each belongs to."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ssvh_model.errors import UserError
from ssvh_model.manifest import Video, write_manifest
from tasks import paths
from tasks.device import pick_workers
from tasks.stage import Stage


def run(stage: Stage) -> None:
    """Render the demo corpus or scan the user's folder, divide it into splits and write the manifest."""
    from ssvh_model.corpus.splits import SplitSpec, assign_splits
    from tasks.datasets import log_corpus

    made = stage.work.folder / "corpus"
    videos = _videos(stage, made)
    shares = stage.params.corpus.split
    spec = SplitSpec(
        validation=shares.validation,
        database=shares.database,
        query=shares.query,
        validation_groups=shares.validation_groups,
        query_groups=shares.query_groups,
    )
    videos = assign_splits(videos, spec, seed=stage.params.seed)

    manifest = made / "manifest.csv"
    write_manifest(manifest, videos)
    publish = {paths.CORPUS_MANIFEST: manifest}
    if stage.params.corpus.source == "arcade":
        publish[paths.CORPUS / "clips"] = made / "clips"
    stage.work.publish(publish)

    log_corpus(stage.run, "output", "")
    stage.run.log_artifact(manifest)
    counts = Counter(video.split if video.usable else video.status for video in videos)
    stage.run.log_metrics({f"videos.{name or 'no split'}": count for name, count in counts.items()})
    stage.say(f"{len(videos)} videos: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    for video in [video for video in videos if not video.usable][:10]:
        stage.say(f"left out: {video.path}: {video.reason}")


def _videos(stage: Stage, folder: Path) -> list[Video]:
    corpus = stage.params.corpus
    workers = pick_workers(stage.params.running.workers)
    if corpus.source == "arcade":
        from ssvh_model.corpus.arcade import ArcadeSpec, render_arcade

        spec = ArcadeSpec(**corpus.arcade.model_dump())
        return render_arcade(
            spec, folder, seed=stage.params.seed, workers=workers, progress=stage.progress("clips")
        )
    if corpus.source == "folder":
        from ssvh_model.corpus.folder import FolderColumns, scan_folder

        return scan_folder(
            Path(corpus.path),
            labels_csv=corpus.folder.labels_csv,
            columns=FolderColumns(**corpus.folder.columns.model_dump()),
            workers=workers,
            progress=stage.progress("videos"),
        )
    raise UserError(
        f"{paths.PARAMS}: corpus.source is 'published', which comes with a later version; allowed now are arcade | folder"
    )
