"""Stage clusters: the anchors that a round begins with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tasks import paths
from tasks.stage import Stage

if TYPE_CHECKING:
    from ssvh_model.clustering.anchors import Granularity


def run(stage: Stage) -> None:
    """Cluster the training set with the weights of the state before; write `states/clusters-<round>`."""
    from ssvh_model.clustering.anchors import save_anchors
    from ssvh_model.features import FeatureFile
    from ssvh_model.training.checkpoint import load_hasher
    from tasks.training import TrainingSession

    settings = stage.params.rounds[str(stage.round)]
    session = TrainingSession(stage.params, FeatureFile(paths.FEATURE_FILE))
    hasher = load_hasher(paths.state(settings.after)).to(session.device)
    anchors = session.cluster(hasher, settings.clusters, progress=stage.progress("videos"))
    stage.run.log_metrics(anchor_figures(anchors))
    folder = stage.work.folder / "clusters"
    save_anchors(folder / paths.ANCHORS, anchors)
    stage.say(f"clusters of {', '.join(str(len(clusters.anchors)) for clusters in anchors)} anchors are made")
    stage.work.publish({paths.state(f"clusters-{stage.round}"): folder})


def anchor_figures(anchors: Sequence[Granularity]) -> dict[str, float]:
    """Named figures of clusterings: smallest and largest cluster and empty ones, by cluster count."""
    figures: dict[str, float] = {}
    for clusters in anchors:
        count, sizes = len(clusters.anchors), clusters.sizes
        figures[f"clusters_{count}_smallest"] = int(sizes.min())
        figures[f"clusters_{count}_largest"] = int(sizes.max())
        figures[f"clusters_{count}_empty"] = int((sizes == 0).sum())
    return figures
