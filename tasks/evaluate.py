"""Stage evaluate: how good the last state's codes are, in numbers and pictures."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ssvh_model.files import atomic_path
from tasks import paths
from tasks.stage import Stage

if TYPE_CHECKING:
    from ssvh_model.retrieval.report import Evaluation
    from ssvh_model.training.checkpoint import History


def run(stage: Stage) -> None:
    """Measure the hasher against the query videos and judge its training; write `metrics/` and `pictures/`."""
    from ssvh_model.features import FeatureFile
    from ssvh_model.retrieval.report import evaluate_hasher
    from ssvh_model.training.checkpoint import load_history, load_model
    from tasks.encoded import encode_videos, mean_features
    from tasks.evaluation_pictures import draw_all
    from tasks.failure_checks import judge, leave_result
    from tasks.training import TrainingSession

    params = stage.params
    file = FeatureFile(paths.FEATURE_FILE)
    session = TrainingSession(params, file)
    state = paths.state(params.last_state)
    model = load_model(state).to(session.device)
    query_rows = file.rows(*params.evaluate.query)
    database_rows = file.rows(*params.evaluate.database)
    query = encode_videos(session, model.hasher, file, query_rows, stage.progress("query videos encoded"))
    # Where every database video is a query, too, they are encoded and held once.
    database = (
        query
        if np.array_equal(query_rows, database_rows)
        else encode_videos(
            session, model.hasher, file, database_rows, stage.progress("database videos encoded")
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

    history = load_history(state)
    checks = judge(params, history)
    folder = stage.work.folder / "results"
    _write_json(folder / "evaluation.json", {**evaluation.record(), "checks": checks.record()})
    _write_curves(folder / "curves", evaluation, history)
    draw_all(folder / "pictures", stage, session, model, file, query, database, evaluation, history)

    stage.run.log_result(evaluation_figures(evaluation.record()))
    stage.run.log_artifact(folder / "pictures", "pictures")
    stage.run.log_artifact(folder / "evaluation.json")
    leave_result(stage, checks)
    _show(stage, evaluation, folder / "pictures")
    if not paths.THUMBNAIL_FILE.is_file():
        stage.say("these features have no videos, so there are no pictures of frames and of nearest videos")
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
    from tasks.prefect_page import show_pictures, show_table

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


def evaluation_figures(record: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of an evaluation under the names that MLflow shows: `gmap`, `map_at_5`, `float_gmap`, `fine_gmap`, ..."""
    figures: dict[str, float] = {}
    for prefix, part in (("", record), ("fine_", record["fine"] or {})):
        for name, result in (
            ("", part),
            *((f"{name}_", one) for name, one in part.get("yardsticks", {}).items()),
        ):
            if result.get("gmap") is not None:
                figures[f"{prefix}{name}gmap"] = result["gmap"]
        for k, value in (part.get("map_at_k") or {}).items():
            figures[f"{prefix}map_at_{k}"] = value
    figures |= {
        name: value for name, value in record["code_statistics"].items() if isinstance(value, int | float)
    }
    return figures


def _write_json(path: Path, content: Any) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def _write_curves(folder: Path, evaluation: Evaluation, history: History) -> None:
    """The tables that `dvc plots` draws."""
    _write_csv(
        folder / "map_at_k.csv",
        [
            {"retriever": name, "k": k, "map_at_k": value}
            for name, result in evaluation.coarse.measured().items()
            for k, value in result.map_at_k.items()
        ],
        ("retriever", "k", "map_at_k"),
    )
    curve = evaluation.coarse.hasher.precision_recall if evaluation.coarse.hasher else None
    _write_csv(
        folder / "precision_recall.csv",
        curve.rows() if curve is not None else [],
        ("radius", "precision", "recall", "answered"),
    )
    columns = list(dict.fromkeys(name for row in history for name in row))
    _write_csv(folder / "history.csv", history, columns)


def _write_csv(path: Path, rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> None:
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(columns), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
