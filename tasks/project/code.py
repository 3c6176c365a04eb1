"""The installed source code, and what the stages depend on of it.

In a clone, stages name folders of the source, which DVC looks at. A project that `ssvh new` has laid out has
none: there, the file `code/<stage>.txt` stands for them, with digests of the installed ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import ssvh_model
from ssvh_model.errors import UserError
from ssvh_model.files import atomic_path
from tasks import paths
from tasks.params.reading import read_yaml
from tasks.pipeline.definition import Definition
from tasks.project.template import PIPELINE

SOURCE = Path(ssvh_model.__file__).parents[1]
PACKAGES = ("ssvh_model/", "tasks/")


def installed_package() -> str:
    """Name and version, such as "autossvh 0.2.0"; "" where the source is used without being installed."""
    try:
        return f"autossvh {version('autossvh')}"
    except PackageNotFoundError:
        return ""


def is_code(dep: str) -> bool:
    """Whether a stage's dep is source code of the package."""
    return dep.startswith(PACKAGES)


def code_file(stage: str) -> Path:
    """What stands for a stage's code in a project without a clone; `stage` without its round."""
    return paths.CODE / f"{stage}.txt"


@cache
def package_stages() -> dict[str, dict[str, Any]]:
    """The stages of the package's own dvc.yaml, whatever project is worked on; of those of rounds, what each
    round has.

    Raises:
        UserError: it can't be read.
    """
    stages = read_yaml(PIPELINE)["stages"]
    return {name: stage.get("do", stage) for name, stage in stages.items()}


@cache
def code_digest(code: tuple[Path, ...]) -> str:
    """16 hex digits of files and folders of source code.

    Args:
        code: paths as in dvc.yaml.
    """
    found = hashlib.sha256()
    files = {
        file for path in code for file in ([SOURCE / path] if path.suffix else (SOURCE / path).rglob("*.py"))
    }
    for file in sorted(files):
        found.update(str(file.relative_to(SOURCE)).encode() + file.read_bytes())
    return found.hexdigest()[:16]


def code_text(stage: str) -> str:
    """What `code_file(stage)` is to say of the package that is installed now."""
    deps = [Path(dep) for dep in package_stages()[stage]["deps"] if is_code(dep)]
    return "".join(f"{dep} {code_digest((dep,))}\n" for dep in deps)


def write_code_files(say: Callable[[str], None]) -> None:
    """Bring the project's code files up to date with the installed package, before DVC looks at them. Does
    nothing in a clone.

    Args:
        say: takes a line if stages are to be run anew because another version of the package is installed.

    Raises:
        UserError: this is no project's folder.
    """
    paths.check_project_folder()
    changed = []
    for name, stage in (read_yaml(paths.PIPELINE).get("stages") or {}).items():
        file = code_file(name)
        if str(file) not in stage.get("do", stage).get("deps", ()) or name not in package_stages():
            continue
        before = file.read_text(encoding="utf-8") if file.is_file() else None
        if before == code_text(name):
            continue
        with atomic_path(file) as temporary:
            temporary.write_text(code_text(name), encoding="utf-8")
        if before is not None:
            changed.append(name)
    if changed:
        say(f"the installed autossvh has other code than before for {', '.join(changed)}: run anew")


def check_code_file(definition: Definition) -> None:
    """Make sure that a stage's code file, if it has one, is of the package that is about to run it.

    Otherwise DVC would note down the code of before for what the present one makes.

    Raises:
        UserError: it is of another version.
    """
    stage = definition.name.partition("@")[0]
    file = code_file(stage)
    if file not in definition.inputs or stage not in package_stages():
        return
    if not file.is_file() or file.read_text(encoding="utf-8") != code_text(stage):
        raise UserError(f"{file}: is not of the autossvh that is installed; `ssvh run` brings it up to date")
