"""Dotted keys of params.yaml, such as `model.bits`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ssvh_model.errors import UserError
from tasks import paths


def look_up(values: dict[str, Any], key: str) -> Any:
    """The value of a dotted key.

    Raises:
        UserError: there is no such key.
    """
    found: Any = values
    for part in key.split("."):
        if not isinstance(found, dict) or part not in found:
            raise UserError(f"{paths.PARAMS}: {key} is missing; {paths.PIPELINE} needs it")
        found = found[part]
    return found


def flatten(section: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"model": {"bits": 64}}` -> `{"model.bits": 64}`; lists stay as they are."""
    flat: dict[str, Any] = {}
    for key, value in section.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
