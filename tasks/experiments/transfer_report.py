"""The result of a transfer as a table, a file and an MLflow run."""

from __future__ import annotations

import re
from pathlib import Path

from rich.box import SIMPLE
from rich.table import Table

from ssvh_model.files import write_json
from tasks import paths
from tasks.experiments.tables import percent
from tasks.experiments.transfer import TRANSFERRED, Transfer
from tasks.records.stage_run import StageRun
from tasks.records.store import Store, git_commit
from tasks.records.tags import FLOW_RUN_TAG, GIT_COMMIT_TAG


def table(found: Transfer, confidence: float) -> Table:
    """For a terminal."""
    shown = Table(box=SIMPLE)
    for column in (
        "retriever",
        "bits",
        "GMAP",
        "MAP@5",
        "transferred against it, %",
        f"{100 * confidence:g} % interval",
    ):
        shown.add_column(column, no_wrap=True)
    for name, one in found.retrieval.items():
        bits, difference = found.bits[name], found.differences.get(name)
        shown.add_row(
            name,
            "" if bits is None else str(bits),
            f"{one.gmap:.4f}",
            f"{one.map_at_k[5]:.4f}",
            "" if difference is None else percent(difference.relative),
            ""
            if difference is None
            else f"{percent(difference.relative_low)} to {percent(difference.relative_high)}",
        )
    return shown


def keep_transfer(found: Transfer, state: Path, trained_there: Path | None, flow_run: str) -> Path:
    """Write the result to `results/transfer/` and log it as an MLflow run of its own; returns the file."""
    name = re.sub(r"[^\w.-]+", "-", f"{state}-to-{Path(found.corpus).stem}")
    path = paths.RESULTS / "transfer" / f"{name}.json"
    write_json(
        path, {"state": str(state), "trained_there": trained_there and str(trained_there), **found.record()}
    )
    store = Store()
    run = store.create_run(
        "transfer", parent=None, tags={GIT_COMMIT_TAG: git_commit(), FLOW_RUN_TAG: flow_run}
    )
    record = StageRun(store, run, run)
    status = "FAILED"
    try:
        record.log_parameters({"state": state, "to": found.corpus, "trained_there": trained_there})
        for retriever, one in found.retrieval.items():
            record.log_metrics({f"gmap.{retriever}": one.gmap})
        for other, difference in found.differences.items():
            if difference.relative is not None:
                record.log_metrics({f"relative_to.{other}": difference.relative})
        record.log_artifact(path)
        status = "FINISHED"
    finally:
        record.close(status)
    return path


def sentence(found: Transfer) -> str:
    """The drop, said in a sentence."""
    name, difference = next(iter(found.differences.items()))
    if difference.relative is None:
        return f"Against {name}: no relative difference, its GMAP is 0."
    share = 100 * difference.relative
    told = (
        "is told apart from none"
        if difference.low > 0 or difference.high < 0
        else "is not told apart from none"
    )
    return (
        f"The {TRANSFERRED} hasher is {abs(share):.1f} % {'below' if share < 0 else 'above'} {name} on {found.corpus}; "
        f"that {told} by the {100 * difference.confidence:g} % interval."
    )
