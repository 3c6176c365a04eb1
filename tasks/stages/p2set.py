"""Stage p2set: one round of training with clusters, L_FR + alpha * L_VC + beta * L_P2Set."""

from __future__ import annotations

from tasks import paths
from tasks.pipeline.open_stage import open_stage
from tasks.pipeline.stage_task import stage_task


@stage_task(tags=("training",))
def p2set(round: int) -> None:
    """Train a round from the full state before it to `states/round-<round>`."""
    from ssvh_model.clustering.anchors import load_anchors
    from ssvh_model.features import FeatureFile
    from ssvh_model.training.checkpoint import load_history
    from tasks.training.checks import CheckedStage, epoch_log
    from tasks.training.phase import run_phase
    from tasks.training.selected import check_selectable
    from tasks.training.settings import training_session

    with open_stage("p2set", round) as stage:
        settings = stage.params.rounds[str(round)]
        name = f"round-{round}"
        session = training_session(stage.params, FeatureFile(paths.FEATURE_FILE))
        check_selectable(stage.params, session)
        checks = CheckedStage(stage, before=load_history(paths.state(settings.after)))
        finished = run_phase(
            session,
            stage.params,
            name,
            epochs=settings.epochs,
            start=paths.state(settings.after),
            anchors=load_anchors(paths.state(f"clusters-{round}") / paths.ANCHORS),
            counts=settings.clusters,
            refresh_every=settings.refresh_every,
            checkpoints=stage.work.folder,
            on_epoch=epoch_log(stage, checks),
            progress=stage.progress("videos"),
        )
        checks.close()
        stage.work.publish({paths.state(name): finished})
