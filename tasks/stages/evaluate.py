"""Stage evaluate: how good the codes of the selected state are, in numbers and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ssvh_model.files import write_csv, write_json
from tasks import paths
from tasks.pipeline.open_stage import open_stage
from tasks.pipeline.stage import Stage
from tasks.pipeline.stage_task import stage_task

if TYPE_CHECKING:
    from ssvh_model.retrieval.report import Evaluation
    from ssvh_model.training.checkpoint import History


@stage_task(tags=("results",))
def evaluate() -> None:
    """Measure the hasher against the query videos and check its training; write `metrics/` and
    `pictures/`.
    """
    import numpy as np

    from ssvh_model.features import FeatureFile
    from ssvh_model.manifest import read_manifest
    from ssvh_model.pictures.evaluation import draw_evaluation, draw_videos
    from ssvh_model.retrieval.report import evaluate_hasher, evaluation_figures
    from ssvh_model.training.checkpoint import load_history, load_model
    from ssvh_model.training.encoded import mean_features
    from ssvh_model.training.selection import select_state
    from ssvh_model.video.thumbnails import Thumbnails
    from tasks.training.checks import check_history, leave_result
    from tasks.training.selected import leave_selection
    from tasks.training.settings import video_set

    with open_stage("evaluate") as stage:
        params = stage.params
        file = FeatureFile(paths.FEATURE_FILE)
        state = paths.state(params.last_state)
        history = load_history(state)
        selection = select_state(history, params.selection)
        model = load_model(state, selection.state)
        query_rows = file.rows(*params.evaluate.query)
        database_rows = file.rows(*params.evaluate.database)
        query = video_set(params, model.hasher, file, query_rows, stage.progress("query videos encoded"))
        # Where every database video is a query, too, they are encoded and held once.
        database = (
            query
            if np.array_equal(query_rows, database_rows)
            else video_set(
                params, model.hasher, file, database_rows, stage.progress("database videos encoded")
            )
        )
        evaluation = evaluate_hasher(
            query,
            database,
            train_features=mean_features(file, file.rows("train")),
            exclude_self=params.evaluate.exclude_self,
            itq_seed=params.seed,
            progress=stage.progress("queries measured"),
        )

        checks = check_history(params, history)
        folder = stage.work.folder / "results"
        write_json(
            folder / "evaluation.json",
            {**evaluation.record(), "selection": selection.record(), "checks": checks.record()},
        )
        _write_curves(folder / "curves", evaluation, history)
        draw_evaluation(folder / "pictures", evaluation, history, selection)
        if paths.THUMBNAIL_FILE.is_file():
            draw_videos(
                folder / "pictures",
                model,
                file,
                query,
                database,
                Thumbnails(paths.THUMBNAIL_FILE),
                bad_frames={video.id: video.bad_frames for video in read_manifest(paths.FEATURES_MANIFEST)},
                exclude_self=params.evaluate.exclude_self,
                videos_shown=params.evaluate.videos_shown,
                queries_shown=params.evaluate.queries_shown,
            )
        else:
            stage.say(
                "these features have no videos, so there are no pictures of frames and of nearest videos"
            )

        stage.run.log_result(evaluation_figures(evaluation.record()))
        stage.run.log_artifact(folder / "pictures", "pictures")
        stage.run.log_artifact(folder / "evaluation.json")
        leave_result(stage, checks)
        leave_selection(stage, selection)
        _show(stage, evaluation, folder / "pictures")
        for reason in dict.fromkeys(evaluation.coarse.reasons.values()):
            stage.say(reason)
        stage.work.publish(
            {
                paths.EVALUATION: folder / "evaluation.json",
                paths.CURVES: folder / "curves",
                paths.PICTURES: folder / "pictures",
            }
        )


def _show(stage: Stage, evaluation: Evaluation, pictures: Path) -> None:
    """What a person wants to see first, on the page of the Prefect run."""
    from tasks.records.prefect_page import show_pictures, show_table

    rows = [
        {
            "codes": name,
            "GMAP": f"{result.gmap:.4f}",
            **{f"MAP@{k}": f"{value:.4f}" for k, value in result.map_at_k.items()},
        }
        for name, result in evaluation.coarse.measured().items()
    ]
    counts = f"{evaluation.n_query} query videos against {evaluation.n_database} database videos"
    show_table("metrics", rows, counts, stage.say)
    sheets = [pictures / name for name in ("neighbours.png", "frames.png")]
    show_pictures(
        "contact-sheet", sheets, columns=1, description="Nearest videos, and sampled frames", say=stage.say
    )
    curves = [
        pictures / f"{name}.png" for name in ("training", "map_at_k", "precision_recall", "sampler", "bits")
    ]
    show_pictures("curves", curves, columns=2, description="Training and retrieval", say=stage.say)


def _write_curves(folder: Path, evaluation: Evaluation, history: History) -> None:
    """The tables that `dvc plots` draws."""
    write_csv(
        folder / "map_at_k.csv",
        [
            {"retriever": name, "k": k, "map_at_k": value}
            for name, result in evaluation.coarse.measured().items()
            for k, value in result.map_at_k.items()
        ],
        ("retriever", "k", "map_at_k"),
    )
    curve = evaluation.coarse.hasher.precision_recall if evaluation.coarse.hasher else None
    write_csv(
        folder / "precision_recall.csv",
        curve.rows() if curve is not None else [],
        ("radius", "precision", "recall", "answered"),
    )
    columns = list(dict.fromkeys(name for row in history for name in row))
    write_csv(folder / "history.csv", history, columns)
