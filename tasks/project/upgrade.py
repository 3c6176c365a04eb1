"""Brings the files of a project that `ssvh new` has laid out up to the package that is installed."""

from __future__ import annotations

from pathlib import Path

from ssvh_model.errors import UserError
from ssvh_model.files import atomic_path
from tasks import paths
from tasks.params.keys import flatten
from tasks.params.newer import with_known_keys
from tasks.params.reading import read_text, read_yaml
from tasks.project.layout import digest, package_texts, read_laid_out, write_laid_out
from tasks.project.template import PARAMS

ASIDE = ".new"  # behind the name of a file that a person has changed


def upgrade_project() -> list[str]:
    """Bring the project in the present folder up to the installed package.

    Files that nobody has changed become the package's. Of those that somebody has, the package's is put
    beside, as `<name>.new`. params.yaml keeps its values; keys that it lacks are added, keys that are not
    known any more are taken out. After a kill, another call does the rest.

    Returns:
        A line for each change.

    Raises:
        UserError: this is no such project, or params.yaml can't be read or changed.
    """
    paths.check_project_folder()
    if not paths.LAID_OUT.is_file():
        raise UserError(
            f"{paths.LAID_OUT}: no such file; `ssvh upgrade` is for projects that `ssvh new` has laid out"
        )
    said = _upgrade_params()
    laid_out = read_laid_out()
    texts = package_texts()
    for path, text in texts.items():
        if path == paths.PARAMS or laid_out.get(path) == digest(text):
            continue
        if path not in laid_out and not path.exists():
            _write(path, text)
            said.append(f"{path}: new")
        elif path.is_file() and (found := read_text(path)) != text:
            if laid_out.get(path) == digest(found):
                _write(path, text)
                said.append(f"{path}: as in the package now")
            else:
                aside = path.with_name(path.name + ASIDE)
                _write(aside, text)
                said.append(f"{path}: you have changed it and the package has, too; the package's is {aside}")
    write_laid_out(Path(), texts)
    return said


def _upgrade_params() -> list[str]:
    read_yaml(paths.PARAMS)  # says in a line what is no YAML
    before = read_text(paths.PARAMS)
    newer = with_known_keys(before, PARAMS.read_text(encoding="utf-8"))
    if newer.added or newer.removed:
        _write(paths.PARAMS, newer.text)
    return [
        *(f"{paths.PARAMS}: {key} is new, {value}" for key, value in flatten(newer.added).items()),
        *(
            f"{paths.PARAMS}: {key} is not known any more and taken out; it was {value}"
            for key, value in flatten(newer.removed).items()
        ),
    ]


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
