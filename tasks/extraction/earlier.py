"""Finished features, kept where the next extraction finds them although DVC deletes the stage's outputs
first.

They are in `.work/earlier/<key>/`, where the key is a digest of the parameters, the code and the image model
of the stage `features`, but not of the videos: with other settings nothing is found. It takes the room of one
more copy of the features; `ssvh clean` frees it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ssvh_model.errors import UserError
from ssvh_model.manifest import Video, read_manifest
from ssvh_model.video.backbone_names import is_own_model
from tasks import paths
from tasks.params.keys import look_up
from tasks.params.reading import read_yaml
from tasks.pipeline.definition import read_definitions
from tasks.pipeline.work import hold_work_lock, link_or_copy, work_key

EARLIER = paths.WORK / "earlier"
STAGE = "features"


def earlier_folder() -> Path:
    """The folder of all that was extracted with the present parameters and code."""
    definition = next(one for one in read_definitions() if one.name == STAGE)
    values = read_yaml(paths.PARAMS)
    settings = [path for path in definition.inputs if path not in (paths.CORPUS, paths.BACKBONES)]
    if paths.BACKBONES in definition.inputs:
        backbone = str(look_up(values, "features.backbone"))
        # The model that is used, not all that are in the folder.
        settings += [Path(backbone)] if is_own_model(backbone) else []
    return EARLIER / work_key(replace(definition, inputs=tuple(settings)), values)


def earlier_features() -> list[Path]:
    """Folders for `ssvh_model.video.extraction.extract_features`."""
    return sorted(earlier_folder().glob("*/"))


def count_new(videos: Sequence[Video]) -> int:
    """How many of the usable videos no earlier extraction knows."""
    known: set[str] = set()
    for folder in earlier_features():
        with contextlib.suppress(UserError, OSError):  # another process has just replaced it
            known.update(video.sha256 for video in read_manifest(folder / "manifest.csv"))
    return sum(video.usable and video.sha256 not in known for video in videos)


def keep_features(name: str, files: Mapping[str, Path], *, only: bool) -> None:
    """Keep finished features under a name, in place of those under the same name.

    Args:
        name: whose they are, such as "features".
        files: what `features.h5`, `thumbnails.h5`, `manifest.csv` and the folder `shards` are to be links of.
        only: they hold all that later runs want; whatever else is kept goes.
    """
    folder = earlier_folder()
    temporary, removed = EARLIER / f".{name}.tmp", EARLIER / ".removed.tmp"
    with hold_work_lock("earlier"):  # it takes no longer than to make links
        EARLIER.mkdir(exist_ok=True)
        for leftover in EARLIER.glob(".*.tmp"):
            shutil.rmtree(leftover, ignore_errors=True)
        temporary.mkdir()
        for file, finished in files.items():
            if finished.is_dir():
                shutil.copytree(finished, temporary / file, copy_function=link_or_copy)
            else:
                link_or_copy(finished, temporary / file)
        for other in [*EARLIER.iterdir()] if only else [folder / name]:
            if other != temporary and other.exists():
                # First out of sight: of a folder that is half removed, features would be missing.
                os.replace(other, removed)
                shutil.rmtree(removed, ignore_errors=True)
        folder.mkdir(exist_ok=True)
        os.replace(temporary, folder / name)
