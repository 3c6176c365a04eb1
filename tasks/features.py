"""Stage features: from videos to frame features and thumbnails."""

from __future__ import annotations

from ssvh_model.manifest import read_manifest, write_manifest
from tasks import paths
from tasks.device import pick_device, pick_workers
from tasks.stage import Stage


def run(stage: Stage) -> None:
    """Decode, sample, run the backbone; write the features, the thumbnails and the manifest as it is after decoding."""
    from ssvh_model.video.backbones import load_backbone
    from ssvh_model.video.extraction import extract_features
    from tasks.datasets import log_features

    params = stage.params.features
    corpus = stage.params.corpus
    backbone = load_backbone(
        params.backbone, size=params.size, device=pick_device(stage.params.running.device)
    )
    made = stage.work.folder / "features"
    videos = extract_features(
        read_manifest(paths.CORPUS_MANIFEST),
        paths.video_root(corpus.source, corpus.path),
        backbone,
        frames=params.frames,
        batch_size=params.batch_size,
        thumbnail=params.thumbnail,
        folder=made,
        workers=pick_workers(stage.params.running.workers),
        progress=stage.progress("videos"),
    )
    write_manifest(made / "manifest.csv", videos)
    stage.work.publish(
        {
            paths.FEATURE_FILE: made / "features.h5",
            paths.THUMBNAIL_FILE: made / "thumbnails.h5",
            paths.FEATURES_MANIFEST: made / "manifest.csv",
        }
    )

    log_features(stage.run, "output", "")
    stage.run.log_artifact(paths.FEATURES_MANIFEST)
    usable = sum(video.usable for video in videos)
    stage.run.log_metrics({"videos.usable": usable, "videos.left_out": len(videos) - usable})
    stage.say(
        f"{usable} videos have features, {len(videos) - usable} were left out; {paths.FEATURES_MANIFEST} has the reasons"
    )
