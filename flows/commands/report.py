"""The short report at the end of a run: how good, compared with what, and where everything is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tasks import paths

NEXT = (
    ("make ui", "every run, curve and picture in the browser"),
    ("dvc metrics diff", "what a change did, once a result is committed: git add dvc.lock && git commit"),
    ("ssvh promote", "put it into service, if it is better than what is there"),
    ("ssvh --help", "everything else; params.yaml holds what can be changed"),
)
SCRIPTS = Path(".venv/bin")  # a clone's environment; a project without a clone may use any


def short_report() -> str:
    """The report as text, from the files that the stages evaluate and register made."""
    return "\n".join(["", *_quality(), *_checks(), "", *_places(), "", "next:", *_next()])


def _quality() -> list[str]:
    if not paths.EVALUATION.is_file():
        return ["no evaluation yet"]
    evaluation = json.loads(paths.EVALUATION.read_text())
    if (gmap := evaluation.get("gmap")) is None:
        return [str(evaluation["reasons"]["gmap"])]
    yardsticks = evaluation.get("yardsticks", {})
    rows = [
        (f"this hasher, {evaluation['bits']} bits", gmap),
        ("ITQ, same bits, no training", _gmap(yardsticks, "itq")),
        ("float features, no hashing", _gmap(yardsticks, "float")),
    ]
    heading = f"GMAP, {evaluation['n_query']} query videos against {evaluation['n_database']} database videos"
    return [
        heading,
        *_selection(evaluation),
        *(f"  {name:<30}{'-' if value is None else f'{value:.4f}'}" for name, value in rows),
    ]


def _selection(evaluation: dict[str, Any]) -> list[str]:
    """A line where it is not the end of the training."""
    selection = evaluation.get("selection")
    if selection is None or selection["state"] == "end":
        return []
    return [f"  of {selection['text']}; try {selection['try']}"]


def _checks() -> list[str]:
    """The warnings that stood at the end of the training, a line each."""
    if not paths.EVALUATION.is_file():
        return []
    evaluation = json.loads(paths.EVALUATION.read_text())
    checks = evaluation.get("checks")
    if checks is None:
        return []
    measured = [name for name, one in checks["states"].items() if one["state"] != "not measured"]
    heading = f"failure checks: {len(checks['raised'])} of {len(measured)} raised"
    if checks["raised"] and _selection(evaluation):
        heading += ", by the end of the training, which was not selected"
    return ["", heading, *(f"  {warning}" for warning in checks["warnings"])]


def _gmap(yardsticks: dict[str, Any], name: str) -> float | None:
    value = yardsticks.get(name, {}).get("gmap")
    return None if value is None else float(value)


def _places() -> list[str]:
    lines = [f"pictures        {paths.PICTURES}/", f"all figures     {paths.EVALUATION}"]
    if paths.REGISTERED_VERSION.is_file():
        version = json.loads(paths.REGISTERED_VERSION.read_text())
        lines.append(
            f"registered      models:/{version['model']}@{version['alias']}, version {version['version']}"
        )
    return lines


def _next() -> list[str]:
    shown = [(_found(command), what) for command, what in NEXT]
    return [f"  {command:<28}{what}" for command, what in shown]


def _found(command: str) -> str:
    """The command as it can be typed in the project's folder."""
    return str(SCRIPTS / command) if (SCRIPTS / command.partition(" ")[0]).is_file() else command
