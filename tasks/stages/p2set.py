"""Stage p2set: one round of training with clusters, L_FR + alpha * L_VC + beta * L_P2Set."""

from __future__ import annotations

from tasks import paths
from tasks.pipeline.stage import Stage


def run(stage: Stage) -> None:
    """Train a round from the full state before it to `states/round-<round>`."""
    from ssvh_model.clustering.anchors import load_anchors
    from ssvh_model.features import FeatureFile
    from ssvh_model.training.checkpoint import load_history
    from tasks.training.checks import CheckedStage, epoch_log
    from tasks.training.phase import run_phase
    from tasks.training.settings import training_session

    settings = stage.params.rounds[str(stage.round)]
    name = f"round-{stage.round}"
    session = training_session(stage.params, FeatureFile(paths.FEATURE_FILE))
    checks = CheckedStage(stage, before=load_history(paths.state(settings.after)))
    finished = run_phase(
        session,
        stage.params,
        name,
        epochs=settings.epochs,
        start=paths.state(settings.after),
        anchors=load_anchors(paths.state(f"clusters-{stage.round}") / paths.ANCHORS),
        counts=settings.clusters,
        refresh_every=settings.refresh_every,
        checkpoints=stage.work.folder,
        on_epoch=epoch_log(stage, checks),
        progress=stage.progress("videos"),
    )
    checks.close()
    stage.work.publish({paths.state(name): finished})
