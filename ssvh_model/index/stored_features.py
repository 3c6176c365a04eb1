"""The frame features of an index's videos that are kept: for its next hasher, and for a finer order of what
codes find.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from ssvh_model.errors import UserError
from ssvh_model.features import FeatureFile, FeatureMeta
from ssvh_model.index.file_paths import file_of_path
from ssvh_model.index.index import IndexSnapshot
from ssvh_model.moments.film_features import FilmFile, is_film_file
from ssvh_model.moments.rerank import TimedFeatures

# Each addition, and each film, has a file of its own: of more than a thousand, a process may not open all.
FILES_OPEN = 64


class StoredFeatures:
    """Features of the videos of a snapshot, made as its hasher wants them.

    Args:
        kept: the feature files that the index keeps (`Index.kept_features`).
        snapshot: of the index.
        meta: how the features that its hasher takes are made.
        shape: of a video's, (M, D).
        project: that relative paths of the index start from (`project_of`).

    Raises:
        UserError: a file is damaged. One that is gone by now is not missed, then or later.
    """

    def __init__(
        self,
        kept: Sequence[Path],
        snapshot: IndexSnapshot,
        meta: FeatureMeta,
        shape: tuple[int, int],
        project: Path = Path(),
    ) -> None:
        self._snapshot, self._meta, self._shape = snapshot, meta, shape
        self._opened = lru_cache(FILES_OPEN)(_open)
        self._places: dict[str, tuple[Path, int]] = {}  # files, and rows in those of whole videos
        # The newest first: a video that was removed and added again counts as it was added last.
        for path in reversed(kept):
            self._take(path)
        if snapshot.source:
            self._take(Path(file_of_path(snapshot.source, project)))

    def _take(self, path: Path) -> None:
        if not path.is_file():
            return
        file = self._opened(path)
        if isinstance(file, FilmFile):
            if self._fits(file.facts.meta, file.facts.frames, file.size):
                self._places.setdefault(file.facts.id, (path, 0))
        elif self._fits(file.meta, *file.shape[1:]):
            for row, name in enumerate(file.ids):
                self._places.setdefault(name, (path, row))

    def _fits(self, meta: FeatureMeta, frames: int, size: int) -> bool:
        return meta == self._meta and (frames, size) == self._shape

    def of(self, row: int, start: float, end: float) -> TimedFeatures | None:
        """Features of a row's video from one second to another; of a video that is kept as a whole, all. None
        if it has none.
        """
        video = self._snapshot.text("ids", row)
        if video not in self._places:
            return None
        path, place = self._places[video]
        try:
            file = self._opened(path)
        except (FileNotFoundError, UserError):
            if path.is_file():
                raise
            return None
        if isinstance(file, FilmFile):
            return _of_film(file, start, end)
        features = file.read([place])[0].numpy()
        seconds = self._snapshot.duration(row) or 1.0
        return TimedFeatures(features, seconds / self._shape[0], whole=True)


def _open(path: Path) -> FilmFile | FeatureFile:
    return FilmFile(path) if is_film_file(path) else FeatureFile(path)


def _of_film(film: FilmFile, start: float, end: float) -> TimedFeatures:
    step = film.facts.step
    first = min(max(0, int(start / step)), len(film) - 1)
    count = max(1, min(len(film), int(end / step) + 1) - first)
    return TimedFeatures(film.read(first, count), step, first * step, film.facts.seconds)
