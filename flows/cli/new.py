"""The commands `ssvh new` and `ssvh upgrade`: projects without a clone."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer


def new(
    project: Annotated[Path, typer.Argument(help="Its folder: a new or an empty one.")],
    videos: Annotated[
        str | None,
        typer.Option(
            help="Folder of your videos, or its address such as s3://bucket/videos; they stay there. Otherwise put them into PROJECT/videos."
        ),
    ] = None,
) -> None:
    """Lay out a project for your own videos: what the pipeline needs beside the installed package."""
    from tasks.project.layout import lay_out_project

    lay_out_project(project, videos)
    where = videos or project / "videos"
    print(f"{project}: laid out for the videos in {where}, as CLASS/CLIP.mp4 or without classes; next")
    print(f"  cd {shlex.quote(str(project))}", "  ssvh run", sep="\n")


def upgrade() -> None:
    """Bring a project that `ssvh new` has laid out up to the installed package; what you have changed stays.

    params.yaml keeps its values, gets the keys that it lacks, and loses those that are not known any more.
    """
    from tasks.params.load import load_params
    from tasks.project.code import installed_package
    from tasks.project.upgrade import upgrade_project

    for line in (said := upgrade_project()):
        print(line)
    load_params()
    print(f"{len(said) or 'no'} changes; the project is as {installed_package()} needs it")


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(new)
    app.command()(upgrade)
