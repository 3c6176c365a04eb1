"""What a training depends on, as dvc.yaml says of the stages that train. Experiments and tuning know their
trainings by the same lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tasks.params.keys import flatten
from tasks.project.code import code_digest, is_code, package_stages

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
        return code_digest(self.code)


@cache
def trained_by(*stages: str) -> TrainedBy:
    """What dvc.yaml names for `stages` together.

    Raises:
        UserError: dvc.yaml can't be read.
    """
    parameters: dict[str, None] = {}
    code: dict[Path, None] = {}
    for stage in stages:
        template = package_stages()[stage]
        parameters |= dict.fromkeys(key.partition(".${")[0] for key in template["params"])
        code |= dict.fromkeys(Path(path) for path in template["deps"] if is_code(path))
    return TrainedBy(tuple(parameters), tuple(code))
