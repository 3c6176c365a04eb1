"""A new project's folder: everything that the pipeline needs beside the installed package."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path
from typing import Any

from ssvh_model.errors import UserError
from tasks import paths
from tasks.params.commented_yaml import commented_yaml
from tasks.project.code import code_file, code_text, is_code
from tasks.project.template import PARAMS, PIPELINE, project_files

ON_CODE_FILES = """\
# code/<stage>.txt holds digests of the installed package's code that a stage depends on. `ssvh run` keeps it up to date.
"""


def lay_out_project(folder: Path, videos: Path | None) -> None:
    """Make a project for a user's own videos: its files, a git repository, and DVC's settings.

    Args:
        folder: a new or an empty one.
        videos: the folder of the videos; None for the project's own folder `videos`.

    Raises:
        UserError: the folder is not empty or can't be written, there is no such folder of videos, or git is missing.
    """
    if (git := shutil.which("git")) is None:
        raise UserError("git is not installed; a project's versions are kept with it")
    try:
        if videos is not None and not videos.is_dir():
            raise UserError(f"--videos {videos}: no such folder")
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise UserError(f"{folder}: is not empty; allowed is a new folder or an empty one")
        _write_files(folder, videos)
    except OSError as error:
        raise UserError(f"{error.filename or folder}: can't be written ({error.strerror})") from error
    made = subprocess.run([git, "init", "--quiet"], cwd=folder, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise UserError(f"git init in {folder}: {' '.join(made.stderr.split())}")


def _write_files(folder: Path, videos: Path | None) -> None:
    contents = {path: file.read_text(encoding="utf-8") for path, file in project_files().items()}
    contents[paths.PARAMS] = _params(videos)
    pipeline = _pipeline()
    contents[paths.PIPELINE] = ON_CODE_FILES + _dumped(pipeline)
    for name in pipeline["stages"]:
        contents[code_file(name)] = code_text(name)
    for path, text in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


def _params(videos: Path | None) -> str:
    """params.yaml as the package has it, but for the videos."""
    content = commented_yaml().load(PARAMS.read_text(encoding="utf-8"))
    content["corpus"]["source"] = "folder"
    if videos is not None:
        content["corpus"]["path"] = str(videos.resolve())
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
