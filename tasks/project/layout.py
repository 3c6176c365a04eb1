"""A new project's folder: everything that the pipeline needs beside the installed package."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssvh_model.errors import UserError
from ssvh_model.files import atomic_path, is_address
from tasks import paths
from tasks.params.commented_yaml import commented_yaml
from tasks.params.reading import read_text
from tasks.project.code import code_file, code_text, is_code, package_stages
from tasks.project.template import PARAMS, PIPELINE, project_files

ON_CODE_FILES = """\
# code/<stage>.txt holds digests of the installed package's code that a stage depends on. `ssvh run` keeps it up to date.
"""


def lay_out_project(folder: Path, videos: str | None) -> None:
    """Make a project for a user's own videos: its files, a git repository, and DVC's settings.

    Args:
        folder: a new or an empty one.
        videos: the folder of the videos, or its address; None for the project's own folder `videos`.

    Raises:
        UserError: the folder is not empty or can't be written, there is no such folder of videos, or git is
            missing.
    """
    if (git := shutil.which("git")) is None:
        raise UserError("git is not installed; a project's versions are kept with it")
    try:
        if videos is not None and not is_address(videos) and not Path(videos).is_dir():
            raise UserError(f"--videos {videos}: no such folder")
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise UserError(f"{folder}: is not empty; allowed is a new folder or an empty one")
        _write_files(folder, videos)
    except OSError as error:
        raise UserError(f"{error.filename or folder}: can't be written ({error.strerror})") from error
    made = subprocess.run([git, "init", "--quiet"], cwd=folder, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise UserError(f"git init in {folder}: {' '.join(made.stderr.split())}")


def package_texts() -> dict[Path, str]:
    """The files of a project, but for those of `code/`, as the installed package has them: place in the
    folder -> text.
    """
    texts = {path: file.read_text(encoding="utf-8") for path, file in project_files().items()}
    return texts | {
        paths.PARAMS: _params(None),
        paths.PIPELINE: ON_CODE_FILES + _dumped(_pipeline()),
    }


def write_laid_out(folder: Path, texts: Mapping[Path, str]) -> None:
    """Note the package's files in a project, so that what a person changes later is told apart (`ssvh
    upgrade`).
    """
    lines = [f"{digest(text)}  {path.as_posix()}\n" for path, text in sorted(texts.items())]
    with atomic_path(folder / paths.LAID_OUT) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def read_laid_out() -> dict[Path, str]:
    """What `write_laid_out` has noted: place -> digest.

    Raises:
        UserError: it can't be read.
    """
    lines = [line.split(maxsplit=1) for line in read_text(paths.LAID_OUT).splitlines()]
    return {Path(parts[1]): parts[0] for parts in lines if len(parts) == 2}


def digest(text: str) -> str:
    """SHA-256 of a text, in hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def _write_files(folder: Path, videos: str | None) -> None:
    texts = package_texts()
    contents = texts | {paths.PARAMS: _params(videos)}
    contents |= {code_file(name): code_text(name) for name in package_stages()}
    for path, text in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    write_laid_out(folder, texts)


def _params(videos: str | None) -> str:
    """params.yaml as the package has it, but for the videos."""
    content = commented_yaml().load(PARAMS.read_text(encoding="utf-8"))
    content["corpus"]["source"] = "folder"
    if videos is not None:
        content["corpus"]["path"] = videos if is_address(videos) else str(Path(videos).resolve())
    return _dumped(content)


def _pipeline() -> Any:
    """dvc.yaml with a code file in the place of a stage's source code, which the project does not have."""
    pipeline = commented_yaml().load(PIPELINE.read_text(encoding="utf-8"))
    for name, stage in pipeline["stages"].items():
        deps = stage.get("do", stage)["deps"]
        for dep in [dep for dep in deps if is_code(dep)]:
            deps.remove(dep)
        deps.append(str(code_file(name)))
    return pipeline


def _dumped(content: Any) -> str:
    yaml, stream = commented_yaml(), io.StringIO()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.dump(content, stream)
    return stream.getvalue()
