"""What a training depends on, as dvc.yaml says of the stages that train. Experiments and tuning know their trainings by the same lists."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import ssvh_model
from tasks import paths
from tasks.params.keys import flatten
from tasks.params.reading import read_yaml

# The file that lies beside this code, whatever project is worked on.
CODE = Path(ssvh_model.__file__).parents[1]
WARMUP = ("warmup",)
WHOLE_TRAINING = ("warmup", "clusters", "p2set")


@dataclass(frozen=True)
class TrainedBy:
    """What some stages depend on, whatever their round.

    Attributes:
        parameters: dotted keys or sections of params.yaml.
        code: files and folders of the library.
    """

    parameters: tuple[str, ...]
    code: tuple[Path, ...]

    def values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the parameters, by dotted key.

        Args:
            params: content of params.yaml.
        """
        return {
            key: value
            for key, value in flatten(params).items()
            if any(key == one or key.startswith(f"{one}.") for one in self.parameters)
        }

    def code_digest(self) -> str:
        """16 hex digits of the code."""
        return _code_digest(self.code)


@cache
def trained_by(*stages: str) -> TrainedBy:
    """What dvc.yaml names for `stages` together.

    Raises:
        UserError: dvc.yaml can't be read.
    """
    templates = read_yaml(CODE / paths.PIPELINE)["stages"]
    parameters: dict[str, None] = {}
    code: dict[Path, None] = {}
    for stage in stages:
        template = templates[stage].get("do", templates[stage])
        parameters |= dict.fromkeys(key.partition(".${")[0] for key in template["params"])
        code |= dict.fromkeys(Path(path) for path in template["deps"] if path.startswith("ssvh_model/"))
    return TrainedBy(tuple(parameters), tuple(code))


@cache
def _code_digest(code: tuple[Path, ...]) -> str:
    found = hashlib.sha256()
    files = {
        file for path in code for file in ([CODE / path] if path.suffix else (CODE / path).rglob("*.py"))
    }
    for file in sorted(files):
        found.update(str(file.relative_to(CODE)).encode() + file.read_bytes())
    return found.hexdigest()[:16]
