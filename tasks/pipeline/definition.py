"""What dvc.yaml and dvc.lock say about the stages, read without starting DVC."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from ssvh_model.errors import UserError
from ssvh_model.files import is_address
from tasks import paths
from tasks.params.keys import look_up
from tasks.params.reading import read_yaml


@dataclass(frozen=True)
class Definition:
    """One stage, with everything in it resolved.

    Attributes:
        name: as DVC calls it, such as "features" or "p2set@2".
        inputs: files and folders of this machine that it depends on.
        addresses: folders elsewhere that it depends on, such as s3://bucket/videos.
        parameters: dotted keys of params.yaml that it depends on.
        outputs: files and folders that it makes.
    """

    name: str
    inputs: tuple[Path, ...]
    parameters: tuple[str, ...]
    outputs: tuple[Path, ...]
    addresses: tuple[str, ...] = ()


def read_definitions() -> list[Definition]:
    """All stages, each after those that it depends on.

    Raises:
        UserError: dvc.yaml or params.yaml can't be read, or a `${key}` in dvc.yaml is not in params.yaml.
    """
    paths.check_project_folder()
    values = read_yaml(paths.PARAMS)
    stages = dict(_resolved(read_yaml(paths.PIPELINE)["stages"], values))
    definitions = {name: _definition(name, stage) for name, stage in stages.items()}
    order = TopologicalSorter(
        {
            name: [other for other in definitions if other != name and feeds(definitions[other], definition)]
            for name, definition in definitions.items()
        }
    )
    try:
        return [definitions[name] for name in order.static_order()]
    except CycleError as error:
        circle = ", ".join(sorted(set(error.args[1])))
        raise UserError(f"{paths.PIPELINE}: stages {circle} wait for each other") from None


def stage_name(base: str, number: int) -> str:
    """As DVC calls a stage, such as "p2set@2" for round 2; `number` is 0 for stages that belong to no
    round.
    """
    return f"{base}@{number}" if number else base


def feeds(maker: Definition, user: Definition) -> bool:
    """Whether one stage makes what another depends on."""
    return any(_overlap(path, output) for output in maker.outputs for path in user.inputs)


def _resolved(stages: dict[str, Any], values: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, stage in stages.items():
        if "foreach" not in stage:
            yield name, _filled(stage, values)
            continue
        for key, item in _filled(stage["foreach"], values).items():
            yield f"{name}@{key}", _filled(stage["do"], {**values, "key": key, "item": item})


def _filled(template: Any, values: dict[str, Any]) -> Any:
    """`template` with every `${dotted.key}` in it replaced, as DVC does it."""
    if isinstance(template, dict):
        return {key: _filled(value, values) for key, value in template.items()}
    if isinstance(template, list):
        return [_filled(value, values) for value in template]
    if not isinstance(template, str):
        return template
    if whole := re.fullmatch(r"\$\{([^}]+)\}", template):
        return look_up(values, whole[1])
    return re.sub(r"\$\{([^}]+)\}", lambda found: str(look_up(values, found[1])), template)


def _definition(name: str, stage: dict[str, Any]) -> Definition:
    deps = stage.get("deps", ())
    outputs = [*stage.get("outs", ()), *stage.get("metrics", ()), *stage.get("plots", ())]
    return Definition(
        name=name,
        inputs=tuple(Path(path) for path in deps if not is_address(path)),
        addresses=tuple(path for path in deps if is_address(path)),
        parameters=tuple(stage.get("params", ())),
        outputs=tuple(Path(next(iter(path)) if isinstance(path, dict) else path) for path in outputs),
    )


def _overlap(first: Path, second: Path) -> bool:
    return first == second or first in second.parents or second in first.parents


@dataclass(frozen=True)
class Lock:
    """What dvc.lock says: the digest of everything that the stages have made and used."""

    stages: dict[str, Any]

    @classmethod
    def read(cls) -> Lock:
        """The lock file's content; empty where there is none yet."""
        if not paths.LOCK.is_file():
            return cls({})
        return cls(read_yaml(paths.LOCK).get("stages") or {})

    def outputs(self) -> dict[Path, str]:
        """Output -> digest, as of the last time that it was made."""
        return {
            Path(out["path"]): out["md5"]
            for stage in self.stages.values()
            for out in stage.get("outs", ())
            if "md5" in out
        }

    def inputs(self, stage: str) -> dict[str, str]:
        """Input -> digest of the last finished run of a stage."""
        deps = self.stages.get(stage, {}).get("deps", ())
        return {dep["path"]: dep["md5"] for dep in deps if "md5" in dep}

    def digests_under(self, path: Path) -> dict[str, str]:
        """Digests of the outputs that are `path` or in it, by output."""
        return {
            str(out): digest
            for out, digest in sorted(self.outputs().items())
            if out == path or path in out.parents
        }
