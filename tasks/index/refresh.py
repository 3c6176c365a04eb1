"""A new champion takes over the index: every video is encoded anew from its stored features, and the index switches at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ssvh_model.errors import UserError
from ssvh_model.features import FeatureFile
from ssvh_model.index.coded_videos import CodedVideos, whole_spans
from ssvh_model.index.index_folder import IndexFolder
from ssvh_model.index.snapshot import Snapshot, open_snapshot
from ssvh_model.manifest import Video
from tasks import paths
from tasks.index.build import ADDED, Progresses, remove_leftovers
from tasks.index.encode import encode_features, encode_videos, find_given_videos, remove_work
from tasks.registry.find_hasher import HasherSource, find_hasher

if TYPE_CHECKING:
    from tasks.params.sections import Params

GONE_NAMED = 5  # videos that are named in one line


def refresh_index(
    params: Params,
    *,
    say: Callable[[str], None],
    progress: Progresses,
    hasher: str | None = None,
    folder: Path = paths.INDEX,
) -> bool:
    """Encode an index's videos with another hasher. Queries are answered by the old codes and the old hasher until all is done, then by the new.

    The videos are those of the feature file that the index was made from, as it is now, without those that were removed from the index, and
    those that were added to it one by one. Videos without stored features that fit are decoded again.

    Args:
        params: params.yaml.
        say: takes a line.
        progress: makes a progress for something that is counted.
        hasher: as `find_hasher` has it; None for `index.hasher`, which is the champion if nobody has changed that.
        folder: of the index.

    Returns:
        True if the index was switched, False if there is none or it has codes of this hasher already.

    Raises:
        UserError: the hasher or the feature file is not there, or they do not fit. The index stays as it was.
    """
    index = IndexFolder(folder)
    if not index.exists():
        return False
    source = find_hasher(hasher or params.index.hasher, model=params.register_.model)
    with index.alone(say):
        snapshot = open_snapshot(folder)
        remove_leftovers(folder, snapshot)
        if snapshot.hasher.sha256 == source.sha256:
            return False
        removed = snapshot.removed_ids()
        videos = _Encoding(folder, snapshot, source, params, say, progress).run(removed)
        index.replace(
            videos, source.folder, index.settings(), seed=params.seed, removed=removed, card=source.card
        )
    say(f"{folder}: {videos.videos} videos now have codes by {source.name}")
    return True


class _Encoding:
    """Encodes the videos of a snapshot, each from where its features are."""

    def __init__(
        self,
        folder: Path,
        snapshot: Snapshot,
        hasher: HasherSource,
        params: Params,
        say: Callable[[str], None],
        progress: Progresses,
    ) -> None:
        self._folder, self._snapshot, self._hasher = folder, snapshot, hasher
        self._params, self._say, self._progress = params, say, progress
        self._known = snapshot.whole()
        self._row = {video: row for row, video in enumerate(self._known.ids)}

    def run(self, removed: set[str]) -> CodedVideos:
        parts = []
        left = set(self._known.ids)
        # The newest first: a video that was removed and added again counts as it was added last.
        for path in sorted((self._folder / ADDED).glob("*.h5"), reverse=True):
            file = FeatureFile(path)
            rows = np.array([row for row, video in enumerate(file.ids) if video in left], dtype=np.int64)
            if len(rows) and self._fits(file):
                part = self._encode(file, rows)
                parts.append(self._described(part))
                left -= set(part.ids)
        if self._snapshot.source:
            file = FeatureFile(Path(self._snapshot.source))
            done = {video for part in parts for video in part.ids}
            rows = np.array(
                [row for row, video in enumerate(file.ids) if video not in removed and video not in done],
                dtype=np.int64,
            )
            part = self._encode(file, rows)
            parts.insert(0, part)
            left -= set(part.ids)
        if left:
            parts += self._from_videos(sorted(left))
        if not parts:
            raise UserError(f"{self._folder}: not one of its videos can be encoded again")
        whole = parts[0]
        for part in parts[1:]:
            whole = whole.followed_by(part)
        return replace(whole, source=self._snapshot.source)

    def _fits(self, file: FeatureFile) -> bool:
        network, wanted = self._hasher.load()
        return file.meta == wanted and file.shape[1:] == (network.config.frames, network.config.feature_size)

    def _encode(self, file: FeatureFile, rows: np.ndarray) -> CodedVideos:
        return encode_features(
            file, self._hasher, self._params, rows=rows, progress=self._progress("videos encoded")
        )

    def _described(self, part: CodedVideos) -> CodedVideos:
        """With labels, paths and durations as the index has them."""
        rows = [self._row[video] for video in part.ids]
        durations = self._known.durations[rows]
        return replace(
            part,
            labels=[self._known.labels[row] for row in rows],
            paths=[self._known.paths[row] for row in rows],
            durations=durations,
            spans=whole_spans(durations),
        )

    def _from_videos(self, ids: list[str]) -> list[CodedVideos]:
        """Decode what has no features that fit; videos that are gone are left out."""
        videos: list[Video] = []
        gone: list[str] = []
        for video in ids:
            path = self._known.paths[self._row[video]]
            if not path or not Path(path).is_file():
                gone.append(video)
                continue
            videos += [
                replace(found, id=video)
                for found in find_given_videos(
                    [Path(path)], self._params, label=None, progress=self._progress("videos")
                )
            ]
        if gone:
            more = f" and {len(gone) - GONE_NAMED} more" if len(gone) > GONE_NAMED else ""
            self._say(
                f"left out of the index, with neither stored features nor a file any more: {', '.join(gone[:GONE_NAMED])}{more}"
            )
        if not any(video.usable for video in videos):
            return []
        encoded = encode_videos(videos, self._hasher, self._params, progress=self._progress)
        remove_work(encoded.work)
        return [self._described(encoded.coded)]
