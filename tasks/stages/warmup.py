"""Stage warmup: training without clusters, L_FR + alpha * L_VC."""

from __future__ import annotations

from tasks import paths
from tasks.pipeline.open_stage import open_stage
from tasks.pipeline.stage_task import stage_task


@stage_task(tags=("training",))
def warmup() -> None:
    """Train the first phase from the initial weights to `states/warmup`."""
    from ssvh_model.features import FeatureFile
    from tasks.training.checks import CheckedStage, epoch_log
    from tasks.training.phase import run_phase
    from tasks.training.selected import check_selectable
    from tasks.training.settings import training_session

    with open_stage("warmup") as stage:
        session = training_session(stage.params, FeatureFile(paths.FEATURE_FILE))
        check_selectable(stage.params, session)
        checks = CheckedStage(stage)
        finished = run_phase(
            session,
            stage.params,
            "warmup",
            epochs=stage.params.warmup.epochs,
            checkpoints=stage.work.folder,
            on_epoch=epoch_log(stage, checks),
            progress=stage.progress("videos"),
        )
        checks.close()
        stage.work.publish({paths.state("warmup"): finished})
