"""What `ssvh models` lists."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tasks.records.tags import (
    BITS_TAG,
    DECIDED_AT_TAG,
    DECISION_TAG,
    FLOW_RUN_TAG,
    GIT_COMMIT_TAG,
    INPUT_TAG,
    PARENT_RUN_TAG,
    RAISED_TAG,
)
from tasks.registry.versions import Registry


def list_versions(model: str) -> list[dict[str, Any]]:
    """The registered versions, newest first, as plain JSON.

    Raises:
        UserError: MLflow is away, or nothing has been registered.
    """
    registry = Registry(model)
    aliases = registry.aliases()
    return [
        {
            "version": str(version.version),
            "aliases": sorted(name for name, of in aliases.items() if of == str(version.version)),
            "created": _time(version.creation_timestamp / 1000),
            "bits": _number(version.tags.get(BITS_TAG), int),
            "gmap": _number(version.tags.get("gmap")),
            "itq_gmap": _number(version.tags.get("itq_gmap")),
            "float_gmap": _number(version.tags.get("float_gmap")),
            "checks_raised": version.tags.get(RAISED_TAG),
            "decision": version.tags.get(DECISION_TAG),
            "decided_at": version.tags.get(DECIDED_AT_TAG),
            "lineage": {
                "run": version.run_id,
                "pipeline_run": version.tags.get(PARENT_RUN_TAG),
                "prefect_flow_run": version.tags.get(FLOW_RUN_TAG),
                "commit": version.tags.get(GIT_COMMIT_TAG),
                **{
                    name.removeprefix(INPUT_TAG): value
                    for name, value in version.tags.items()
                    if name.startswith(INPUT_TAG)
                },
            },
        }
        for version in reversed(registry.versions())
    ]


def _number(text: str | None, kind: type[int] | type[float] = float) -> float | None:
    return None if text is None else kind(text)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
