"""Stage features: from videos to frame features and thumbnails, or a link to features that others have published."""

from __future__ import annotations

from pathlib import Path

from ssvh_model.errors import UserError
from ssvh_model.manifest import Video, read_manifest, write_manifest
from tasks import paths
from tasks.device import pick_device, pick_workers
from tasks.earlier import earlier_features, keep_features
from tasks.stage import Stage


def run(stage: Stage) -> None:
    """Write the features, the thumbnails where there are videos, and the manifest as it is after decoding."""
    from tasks.datasets import log_features

    made = stage.work.folder / "features"
    published = stage.params.corpus.source == "published"
    videos = _link(stage, made) if published else _extract(stage, made)
    write_manifest(made / "manifest.csv", videos)
    publish = {paths.FEATURE_FILE: made / "features.h5", paths.FEATURES_MANIFEST: made / "manifest.csv"}
    if not published:
        publish[paths.THUMBNAIL_FILE] = made / "thumbnails.h5"
    stage.work.publish(publish)
    if not published:
        keep_features(stage.name, {output.name: file for output, file in publish.items()}, only=True)

    log_features(stage.run, "output", "")
    stage.run.log_artifact(paths.FEATURES_MANIFEST)
    usable = sum(video.usable for video in videos)
    stage.run.log_metrics({"videos.usable": usable, "videos.left_out": len(videos) - usable})
    stage.say(
        f"{usable} videos have features, {len(videos) - usable} were left out; {paths.FEATURES_MANIFEST} has the reasons"
    )


def _extract(stage: Stage, folder: Path) -> list[Video]:
    """Decode, sample, run the backbone."""
    from ssvh_model.video.backbones import load_backbone
    from ssvh_model.video.extraction import extract_features

    params, corpus = stage.params.features, stage.params.corpus
    backbone = load_backbone(
        params.backbone, size=params.size, device=pick_device(stage.params.running.device)
    )
    return extract_features(
        read_manifest(paths.CORPUS_MANIFEST),
        paths.video_root(corpus.source, corpus.path),
        backbone,
        frames=params.frames,
        batch_size=params.batch_size,
        thumbnail=params.thumbnail,
        folder=folder,
        workers=pick_workers(stage.params.running.workers),
        progress=stage.progress("videos"),
        earlier=earlier_features(),
    )


def _link(stage: Stage, folder: Path) -> list[Video]:
    """Look at every published feature once and write a file that points to them."""
    from ssvh_model.corpus.published import read_sources
    from ssvh_model.corpus.published_features import check_features, link_features

    sources = read_sources(paths.CORPUS_SOURCES)
    frames = sources[0].shape[1]
    if frames != stage.params.features.frames:
        raise UserError(
            f"{paths.PARAMS}: features.frames is {stage.params.features.frames}; allowed is {frames}, "
            f"what {sources[0].path} has"
        )
    check_features(sources, progress=stage.progress("videos"))
    videos = read_manifest(paths.CORPUS_MANIFEST)
    link_features(
        folder / "features.h5",
        sources,
        videos,
        dataset=stage.params.corpus.published.dataset,
        readable_in=paths.FEATURES,
    )
    return videos
