"""params.yaml with some keys changed, checked as if it had been written that way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssvh_model.errors import UserError
from tasks.params.cross_checks import check_together
from tasks.params.reading import validate
from tasks.params.sections import Params


def with_changes(params: Params, changes: Mapping[str, Any], *, where: str) -> Params:
    """`params` with other values under some dotted keys.

    Args:
        params: stays as it is.
        changes: dotted key -> value, such as `{"sampler.kind": "random"}`; a whole section may be a value.
        where: what messages begin with, such as "params.yaml: ablation.variants.random".

    Raises:
        UserError: there is no such key, or the value is not possible.
    """
    values = params.model_dump(by_alias=True)
    for key, value in changes.items():
        *sections, last = key.split(".")
        place: Any = values
        for section in sections:
            place = place.get(section) if isinstance(place, dict) else None
        if not isinstance(place, dict) or last not in place:
            raise UserError(f"{where}: {key} is not a key of params.yaml")
        place[last] = value
    changed = validate(Params, values, Path(where))
    check_together(changed, Path(where))
    return changed


def parse_changes(settings: Sequence[str]) -> dict[str, Any]:
    """`["model.bits=32"]` -> `{"model.bits": 32}`; values are YAML.

    Raises:
        UserError: one is not of the form key=value.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    changes = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise UserError(f"--set {setting}: allowed is key=value, such as model.bits=32")
        try:
            changes[key] = YAML(typ="safe").load(text)
        except YAMLError:
            raise UserError(f"--set {setting}: {text!r} is not a YAML value") from None
    return changes
