"""From the ablation's results to its table, files and MLflow record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ssvh_model.features import FeatureFile
from ssvh_model.files import write_json
from ssvh_model.pictures.ablation import draw_ablation
from tasks import paths
from tasks.experiments.ablation.comparison import AblationResult, record, summarise
from tasks.experiments.ablation.table import markdown
from tasks.experiments.ablation.variants import FULL, Variant, variants
from tasks.experiments.one_training import Measure
from tasks.experiments.plan import Plan, check_cluster_counts
from tasks.experiments.videos import find_corpus, open_corpus
from tasks.params.sections import Params
from tasks.records.stage_run import StageRun
from tasks.records.store import Store

NAME = "ablation"


def plan_ablation(
    params: Params, features: Path, measure: Measure, seeds: tuple[int, ...], names: tuple[str, ...]
) -> tuple[Plan, list[Variant]]:
    """What there is to train.

    Raises:
        UserError: parameters or features are at fault.
    """
    corpus, params = find_corpus(features, params, measure)
    listed = variants(params, names)
    # A variant that changes nothing has the full method's results.
    plan = Plan(NAME, params, corpus, measure, seeds, {variant.name: variant.params for variant in listed})
    check_cluster_counts(plan, _training_videos(open_corpus(corpus, params)))
    return plan, listed


def finish_ablation(plan: Plan, listed: list[Variant], parent: str) -> AblationResult:
    """Compare the results, write `table.json`, `table.md` and `bars.png` to the plan's folder, and log them
    to the parent run.
    """
    ablation = summarise(
        [(variant, plan.results(variant.name)) for variant in listed], plan.seeds, plan.params
    )
    folder = plan.folder
    confidence = plan.params.ablation.confidence
    content: dict[str, Any] = {
        "features": plan.corpus.name,
        "measure": plan.measure,
        "bits": plan.params.model.bits,
        **record(ablation),
    }
    write_json(folder / "table.json", content)
    (folder / "table.md").write_text(markdown(ablation, confidence, plan.heading), encoding="utf-8")
    draw_ablation(
        folder / "bars.png",
        {row.variant.name: row.gmaps for row in ablation.rows},
        full=FULL,
        remark=plan.remark,
        yardsticks=ablation.yardsticks,
    )
    write_json(paths.RESULTS / NAME / "latest.json", {"folder": str(folder)})
    store = Store()
    run = StageRun(store, parent, parent)
    for name in ("table.json", "table.md", "bars.png"):
        run.log_artifact(folder / name)
    store.log_metrics(
        parent, {f"gmap.{row.variant.name}": sum(row.gmaps) / len(row.gmaps) for row in ablation.rows}
    )
    return ablation


def _training_videos(file: FeatureFile) -> int:
    return len(file.rows("train"))
