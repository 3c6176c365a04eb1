"""Stage warmup: training without clusters, L_FR + alpha * L_VC."""

from __future__ import annotations

from tasks import paths
from tasks.stage import Stage


def run(stage: Stage) -> None:
    """Train the first phase from the initial weights to `states/warmup`."""
    from ssvh_model.features import FeatureFile
    from tasks.failure_checks import CheckedStage
    from tasks.training import TrainingSession, epoch_log

    session = TrainingSession(stage.params, FeatureFile(paths.FEATURE_FILE))
    checks = CheckedStage(stage)
    finished = session.run_phase(
        "warmup",
        epochs=stage.params.warmup.epochs,
        checkpoints=stage.work.folder,
        on_epoch=epoch_log(stage, checks),
        progress=stage.progress("videos"),
    )
    checks.close()
    stage.work.publish({paths.state("warmup"): finished})
