"""How versions, the promotion log and a decision look on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from tasks.promotion.log import interval

if TYPE_CHECKING:
    from tasks.promotion.turn import Decision

MARKS = {True: "passed", False: "FAILED", None: "not measured"}


def versions_table(rows: Sequence[dict[str, Any]]) -> Table:
    """The versions."""
    table = Table(
        "version",
        "alias",
        "created",
        "bits",
        "GMAP",
        "ITQ",
        "checks",
        "last decision",
        "commit",
        "features",
        "run",
    )
    for row in rows:
        lineage = row["lineage"]
        table.add_row(
            row["version"],
            ", ".join(row["aliases"]),
            row["created"][:16].replace("T", " "),
            str(row["bits"] or "-"),
            _figure(row["gmap"]),
            _figure(row["itq_gmap"]),
            row["checks_raised"] or "-",
            row["decision"] or "-",
            (lineage["commit"] or "-")[:8],
            (lineage.get("data/features") or "-")[:8],
            (lineage["run"] or "-")[:8],
        )
    return table


def log_table(rows: Sequence[dict[str, Any]]) -> Table:
    """The promotion log."""
    table = Table("entry", "at", "decision", "GMAP", "champion", "difference", "reason", "by")
    for row in rows:
        table.add_row(
            str(row["entry"]),
            row.get("at", "")[:16].replace("T", " "),
            row["summary"],
            _figure(row.get("gmap")),
            _figure(row.get("champion_gmap")),
            interval(row),
            row.get("reason", ""),
            row.get("by", ""),
        )
    return table


def decision_lines(decision: Decision, dry_run: bool) -> list[str]:
    """A decision with all conditions, a line each."""
    record = decision.record
    lines = [f"{'dry run: ' if dry_run else ''}{decision.headline}"]
    checks = record.get("checks", [])
    lines += [
        f"  {check['name']:<26}{MARKS[check['passed']]:<14}{check['found']}; wanted: {check['wanted']}"
        for check in checks
    ]
    if not checks:
        lines.append(f"  {record['reason']}")
    if decision.number is not None:
        lines.append(f"entry {decision.number} of the promotion log: `ssvh models --log`")
    return lines


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
