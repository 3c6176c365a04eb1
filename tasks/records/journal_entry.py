"""What a line of a journal may say. A journal lies on disk until MLflow takes it, and anything may happen to
it there.
"""

from __future__ import annotations

import re
from typing import Any

STATUSES = ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")


def is_entry(entry: Any) -> bool:
    """True for what `Journal` writes; MLflow would take offence at anything else again and again, and all
    that follows would wait.
    """
    if not isinstance(entry, dict) or not isinstance(run := entry.get("run"), str):
        return False
    if not re.fullmatch(r"[\w-]{1,256}", run, re.ASCII):
        return False
    match {name: value for name, value in entry.items() if name != "run"}:
        case {"metrics": list(metrics), **rest} if metrics:
            return not rest and all(_is_metric(metric) for metric in metrics)
        case {"tags": dict(tags), **rest} if tags:
            return not rest and all(_is_text(text) for pair in tags.items() for text in pair)
        case {"status": status, "end_time": end_time, **rest}:
            return rest in ({}, {"final": True}) and status in STATUSES and _is_count(end_time)
    return False


def _is_metric(metric: Any) -> bool:
    match metric:
        case [name, float(), timestamp, step]:
            return _is_text(name) and _is_count(timestamp) and _is_count(step)
    return False


def _is_text(value: Any) -> bool:
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a pair, which no database takes
        return False
    return True


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63
