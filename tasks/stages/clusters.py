"""Stage clusters: the anchors that a round begins with."""

from __future__ import annotations

from tasks import paths
from tasks.pipeline.open_stage import open_stage
from tasks.pipeline.stage_task import stage_task


@stage_task(tags=("training",))
def clusters(round: int) -> None:
    """Cluster the training set with the weights of the state before; write `states/clusters-<round>`."""
    from ssvh_model.clustering.anchors import save_anchors
    from ssvh_model.features import FeatureFile
    from ssvh_model.training.checkpoint import load_hasher
    from ssvh_model.training.figures import anchor_figures
    from tasks.training.settings import training_session

    with open_stage("clusters", round) as stage:
        settings = stage.params.rounds[str(round)]
        session = training_session(stage.params, FeatureFile(paths.FEATURE_FILE))
        hasher = load_hasher(paths.state(settings.after)).to(session.device)
        anchors = session.cluster(hasher, settings.clusters, progress=stage.progress("videos"))
        stage.run.log_metrics(anchor_figures(anchors))
        folder = stage.work.folder / "clusters"
        save_anchors(folder / paths.ANCHORS, anchors)
        made, wanted = [len(clusters.anchors) for clusters in anchors], list(settings.clusters)
        if made != wanted:
            stage.say(
                f"rounds.{round}.clusters is {wanted}, more than the {len(session.videos)} training videos: {made} instead"
            )
        stage.say(f"clusters of {', '.join(map(str, made))} anchors are made")
        stage.work.publish({paths.state(f"clusters-{round}"): folder})
