"""Features of earlier extractions: a video that is still the same, byte for byte, is not decoded again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from ssvh_model.errors import UserError
from ssvh_model.features import FeatureFile, FeatureMeta
from ssvh_model.manifest import read_manifest
from ssvh_model.video.shards import Extracted


@dataclass(frozen=True)
class _Row:
    file: FeatureFile
    thumbnails: Path
    row: int
    total: int
    remark: str


class EarlierFeatures:
    """What earlier extractions with the same settings made, found by the SHA-256 of the videos.

    Rows are handed on as they are. Where videos went through the backbone in other company than now, a
    feature may differ in its last float16 digit from one made anew.

    Args:
        folders: each with the `features.h5`, `thumbnails.h5` and `manifest.csv` of an extraction. Whoever
            calls sees to it that code, batch size and thumbnail size were the same; one that can't be read,
            or was made by another backbone or with another number of frames, counts for nothing.
        meta: how features are made now.
        frames: M, frames a video.
    """

    def __init__(self, folders: Sequence[Path], *, meta: FeatureMeta, frames: int) -> None:
        self._rows: dict[str, _Row] = {}
        for folder in folders:
            try:
                self._add(folder, meta, frames)
            except (UserError, OSError, KeyError):
                continue

    def __len__(self) -> int:
        return len(self._rows)

    def _add(self, folder: Path, meta: FeatureMeta, frames: int) -> None:
        file = FeatureFile(folder / "features.h5")
        thumbnails = folder / "thumbnails.h5"
        with h5py.File(thumbnails, "r") as pictures:
            whole = len(pictures["thumbnails"]) == len(file)
        if not whole or file.meta != meta or file.shape[1] != frames:
            return
        places = {name: row for row, name in enumerate(file.ids)}
        for video in read_manifest(folder / "manifest.csv"):
            if video.usable and video.sha256 and video.id in places:
                self._rows[video.sha256] = _Row(
                    file, thumbnails, places[video.id], video.frames, video.reason
                )

    def find(self, sha256: str) -> Extracted | None:
        """What was extracted from the video with this digest; None if nothing was, or if it has been removed
        meanwhile.
        """
        if (found := self._rows.get(sha256)) is None:
            return None
        try:
            with h5py.File(found.thumbnails, "r") as pictures:
                jpegs = [jpeg.tobytes() for jpeg in pictures["thumbnails"][found.row]]
            features = found.file.read([found.row])[0].numpy()
        except (UserError, OSError, KeyError):
            return None
        # What a joined file points to and HDF5 does not find reads as "not a number", and as no bytes.
        if not np.isfinite(features).all() or not all(jpegs):
            return None
        return Extracted(features, found.file.frame_indices[found.row], jpegs, found.total, found.remark)
