"""What `ssvh models --log` lists."""

from __future__ import annotations

from typing import Any

from tasks.promotion.log import PromotionLog, headline
from tasks.registry.versions import Registry


def list_log(model: str) -> list[dict[str, Any]]:
    """The promotion log, newest first, as plain JSON.

    Raises:
        UserError: MLflow is away, or nothing has been registered.
    """
    registry = Registry(model)
    registry.aliases()
    with registry.asked():
        entries = PromotionLog(registry.client, model).entries()
    return [
        {"entry": entry.number, "open": entry.open, "summary": headline(entry.record), **entry.record}
        for entry in reversed(entries)
    ]
