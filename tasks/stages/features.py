"""Stage features: from videos to frame features and thumbnails, or a link to features that others have
published.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from ssvh_model.errors import UserError
from ssvh_model.files import sha256_of
from ssvh_model.manifest import Video, read_manifest, write_manifest
from tasks import paths
from tasks.extraction.chosen_extractor import open_extraction
from tasks.extraction.earlier import count_new, earlier_features, keep_features
from tasks.pipeline.open_stage import open_stage
from tasks.pipeline.stage import Stage
from tasks.pipeline.stage_task import stage_task


@stage_task(tags=("data",))
def features() -> None:
    """Write the features, the thumbnails where there are videos, and the manifest as it is after decoding."""
    from tasks.records.data_sets import log_features

    with open_stage("features") as stage:
        made = stage.work.folder / "features"
        published = stage.params.corpus.source == "published"
        videos = _link(stage, made) if published else _extract(stage, made)
        write_manifest(made / "manifest.csv", videos)
        publish = {paths.FEATURE_FILE: made / "features.h5", paths.FEATURES_MANIFEST: made / "manifest.csv"}
        if not published:
            publish |= (own_model := _own_model(stage, made))
            publish[paths.THUMBNAIL_FILE] = made / "thumbnails.h5"
            publish[paths.FEATURE_SHARDS] = made / paths.FEATURE_SHARDS.name
        stage.work.publish(publish)
        if not published:
            keep_features(
                stage.name,
                {output.name: file for output, file in publish.items() if output not in own_model},
                only=True,
            )

        log_features(stage.run, "output", "")
        stage.run.log_artifact(paths.FEATURES_MANIFEST)
        usable = sum(video.usable for video in videos)
        stage.run.log_metrics({"videos.usable": usable, "videos.left_out": len(videos) - usable})
        stage.say(
            f"{usable} videos have features, {len(videos) - usable} were left out; {paths.FEATURES_MANIFEST} has the reasons"
        )


def _extract(stage: Stage, folder: Path) -> list[Video]:
    """Decode, sample, run the backbone: what others have not made yet, see tasks/extraction/share.py."""
    videos = read_manifest(paths.CORPUS_MANIFEST)
    new = count_new(videos)
    stage.say(f"{new} videos are new; features of the others, if any, are taken from the extraction before")
    stage.run.log_metrics({"videos.new": new})
    with open_extraction(stage.params, videos, folder, stage.say) as (extraction, extractor):
        extraction.make(extractor, progress=stage.progress("videos"), earlier=earlier_features(), wait=True)
    return extraction.join()


def _own_model(stage: Stage, folder: Path) -> dict[Path, Path]:
    """The file of the user's image model, if one made the features: it stays with them, and goes into service
    with the hasher.
    """
    from ssvh_model.features import FeatureFile

    meta = FeatureFile(folder / "features.h5").meta
    if not meta.model_file:
        return {}
    copy = folder / meta.model_file
    # A link would be the same file, and DVC changes the rights of files that it takes.
    shutil.copyfile(stage.params.features.backbone, copy)
    if sha256_of(copy) != meta.weights_sha256:
        raise UserError(
            f"{stage.params.features.backbone}: was changed while features were made with it; run again"
        )
    return {paths.FEATURES / meta.model_file: copy}


def _link(stage: Stage, folder: Path) -> list[Video]:
    """Look at every published feature once and write a file that points to them."""
    from ssvh_model.corpus.published.features import check_features, link_features
    from ssvh_model.corpus.published.sources import read_sources

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
