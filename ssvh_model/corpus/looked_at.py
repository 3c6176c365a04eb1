"""Notes on videos that were looked into, so that each object of a bucket is fetched once, over kills and
runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

from ssvh_model.manifest import Video

FIELDS = ("frames", "duration", "status", "reason", "sha256")


class LookedAt:
    """What was found in videos, by their path and the stamp of their content. May be used by several threads.

    Args:
        path: file of the notes, a line a video, to which new ones are added; made if needed. A line that a
            kill cut off is passed over.
        stamps: what tells a changed file from the one before, by path (`RemoteFolder.stamps`).
    """

    def __init__(self, path: Path, stamps: Mapping[str, str]) -> None:
        self._path, self._stamps, self._lock = path, stamps, Lock()
        self._found: dict[tuple[str, str], dict[str, Any]] = {}
        if path.is_file():
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                self._take(line)

    def _take(self, line: str) -> None:
        try:
            row = json.loads(line)
            self._found[row["path"], row["stamp"]] = {name: row[name] for name in FIELDS}
        except (ValueError, KeyError, TypeError):
            return

    def noted(self, video: Video) -> Video | None:
        """The video with what was found in it, if it has not changed since."""
        found = self._found.get((video.path, self._stamps.get(video.path, "")))
        return None if found is None else replace(video, **found)

    def note(self, video: Video) -> Video:
        """Keep what was found in a video, if it could be read; the same video."""
        if video.sha256 and video.path in self._stamps:
            row = {"path": video.path, "stamp": self._stamps[video.path]}
            row |= {name: getattr(video, name) for name in FIELDS}
            with self._lock:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with open(self._path, "a", encoding="utf-8") as file:
                    # The line end comes first: what a kill has cut off before stays a line of its own.
                    file.write(f"\n{json.dumps(row)}")
        return video
