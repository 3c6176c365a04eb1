"""An index that is open goes on answering, whatever another process does to its folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssvh_model.index.coded_videos import CodedVideos
from ssvh_model.index.duplicates import duplicate_groups
from ssvh_model.index.index_folder import IndexFolder, IndexSettings
from ssvh_model.index.snapshot import Snapshot, open_snapshot
from tests.conftest import REPOSITORY

Coded = Callable[..., CodedVideos]
IN_CELLS = IndexSettings(exact_up_to=10, cells=4, probes=2)

CHANGES = {
    "replaced": "index.replace(one, hasher, IndexSettings(10**6, 8, 4), seed=1)",
    "changed": "index.remove([open_snapshot(index.folder).ids()[0]])",
    "taken in by a new generation": "index_folder.CHANGES_AT_ONCE = 0; index_folder.CHANGES_SHARE = 0; "
    "index.remove([open_snapshot(index.folder).ids()[0]])",
    "deleted": "shutil.rmtree(index.folder)",
}
PROGRAM = """
import shutil, sys
from pathlib import Path
from ssvh_model.index import index_folder
from ssvh_model.index.index_folder import IndexFolder, IndexSettings
from ssvh_model.index.snapshot import open_snapshot
index, hasher = IndexFolder(Path(sys.argv[1])), Path(sys.argv[2])
one = open_snapshot(index.folder).whole().rows([0])
with index.alone():
    {change}
"""


def everything(snapshot: Snapshot) -> dict[str, Any]:
    """All that a snapshot can be asked."""
    query = np.array([[0x0F, 0xF0], [0xAB, 0xCD]], np.uint8)
    whole = snapshot.whole()
    files = [snapshot.base, *([snapshot.added] if snapshot.added is not None else [])]
    cells = snapshot.cells
    return {
        "length": len(snapshot),
        "about": (snapshot.pointer, snapshot.hasher, snapshot.bits, snapshot.source),
        "ids": snapshot.ids(),
        "removed": sorted(snapshot.removed_ids()),
        "texts": [
            [snapshot.text(name, row) for name in ("ids", "labels", "paths")] for row in range(len(snapshot))
        ],
        "durations": [snapshot.duration(row) for row in range(len(snapshot))],
        "spans": [snapshot.span(row) for row in range(len(snapshot))],
        "nearest": [part.tolist() for part in snapshot.nearest(query, 5)],
        "exactly nearest": [part.tolist() for part in snapshot.nearest(query, 5, exact=True)],
        "duplicates": [group.tolist() for group in duplicate_groups(snapshot.words, radius=2)],
        "cells": cells and (cells.centres.tolist(), cells.ends.tolist(), cells.probes),
        "whole": (whole.ids, whole.codes.tolist(), whole.labels, whole.paths, whole.durations.tolist()),
        "files": [(file.ids(), file.whole().ids, file.text("labels", 0), file.duration(0)) for file in files],
    }


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.slow
def test_an_open_index_answers_everything_from_the_files_that_it_opened(
    tmp_path: Path, coded: Coded, hasher: Path, change: str
) -> None:
    index = IndexFolder(tmp_path / "index")
    with index.alone():
        index.replace(coded(30), hasher, IN_CELLS, seed=1, removed=["earlier"])
        index.add(coded(3, seed=1, prefix="new"))
        index.remove(["video-4", "new-1"])
    snapshot, used = open_snapshot(index.folder), open_snapshot(index.folder)
    before = everything(used)
    subprocess.run(
        [
            sys.executable,
            "-c",
            PROGRAM.format(change=CHANGES[change]),
            str(index.folder),
            str(hasher),
        ],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        check=True,
        timeout=300,
    )
    if change != "deleted":
        assert open_snapshot(index.folder).ids() != before["ids"]
    assert everything(snapshot) == before, "that was never asked before the change"
    assert everything(used) == before
