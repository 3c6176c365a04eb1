"""Projects to start from, each made once, all in the same folder: records hold absolute paths.

What an earlier campaign made in that folder is used again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from tests.crash.beside import called_beside
from tests.crash.commands import CLI, MODEL, SECOND_VERSION, SMALL
from tests.projects import Project, copy_project, environment_in

NEW_CLIPS = "new-clips"  # folder of what `add` adds
ADDED = 3
REMOVED = 2


class Templates:
    """Makes a project as it is before a command.

    Args:
        folder: of the campaign. The project that is worked at is `folder / "project"`.
        say: takes a line.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.place = folder / "project"
        self._kept = folder / "templates"
        self._say = say

    def project(self, name: str) -> Project:
        """A copy of a template, at the place where all work is done."""
        if not (self._kept / name).is_dir():
            self._say(f"making the project {name!r} to start from")
            getattr(self, f"_{name.replace(' ', '_')}")()
            half = self._kept / f".{name}"
            shutil.rmtree(half, ignore_errors=True)
            shutil.copytree(self.place, half, symlinks=True)
            half.rename(self._kept / name)
        self._empty_place()
        shutil.copytree(self._kept / name, self.place, symlinks=True, dirs_exist_ok=True)
        return Project(self.place, environment_in(self.place))

    def _empty_place(self) -> None:
        """Remove what is there, but not the folder: it may be a disk of its own."""
        self.place.mkdir(parents=True, exist_ok=True)
        for path in self.place.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def _fresh(self) -> Project:
        self._empty_place()
        project = copy_project(self.place)
        project.set(**SMALL)
        return project

    def _corpus(self) -> Project:
        project = self.project("fresh")
        project.run("dvc", "repro", "corpus")
        return project

    def _features(self) -> Project:
        project = self.project("corpus")
        project.run("dvc", "repro", "features")
        return project

    def _finished(self) -> Project:
        project = self.project("features")
        project.run(CLI, "run")
        return project

    def _indexed(self) -> Project:
        project = self.project("finished")
        project.run(CLI, "index")
        clips = sorted((self.place / "data/corpus/clips").glob("*.mp4"))
        (self.place / NEW_CLIPS).mkdir()
        for clip in clips[:ADDED]:
            shutil.copy(clip, self.place / NEW_CLIPS / f"new-{clip.name}")
        return project

    def _two_versions(self) -> Project:
        project = self.project("finished")
        called_beside(_crown, project, 1)
        project.set(**SECOND_VERSION)
        project.run(CLI, "run")
        return project

    def _promoted(self) -> Project:
        project = self.project("two versions")
        called_beside(_crown, project, 2)
        return project


def _crown(project: Project, version: int) -> None:
    """Make a version the champion, whatever the gate thinks of such small trainings."""
    project.client().set_registered_model_alias(MODEL, "champion", str(version))


def removed_ids(project: Project) -> list[str]:
    """Videos that `remove` takes out: the first of the manifest."""
    from ssvh_model.manifest import read_manifest

    videos = read_manifest(project.folder / "data/features/manifest.csv")
    return [video.id for video in videos if video.usable][:REMOVED]
