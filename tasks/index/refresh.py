"""A new champion takes over the index: every video is encoded anew from its stored features, and the index
switches at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ssvh_model.errors import UserError
from ssvh_model.features import FeatureFile, FeatureMeta
from ssvh_model.files import is_address
from ssvh_model.index.coded_videos import CodedVideos, whole_spans
from ssvh_model.index.file_paths import file_of_path, project_of
from ssvh_model.index.index import Index, IndexSnapshot, open_index
from ssvh_model.manifest import NothingReadable, Video
from ssvh_model.moments.film_features import FilmFile, is_film_file
from ssvh_model.moments.segments import EvenSegments, Segments
from ssvh_model.moments.shots import Shots
from ssvh_model.texts import listed
from tasks.index.build import Progresses, features_to_keep
from tasks.index.encode import encode_features, encode_film, segments_of
from tasks.index.given_videos import encode_videos, remove_work
from tasks.index.place import index_place
from tasks.machine.device import pick_workers
from tasks.registry.find_hasher import HasherSource, find_hasher

if TYPE_CHECKING:
    from tasks.params.sections import Params

MOST_NAMED = 5  # videos in one line


def refresh_index(
    params: Params,
    *,
    say: Callable[[str], None],
    progress: Progresses,
    hasher: str | None = None,
    place: str | Path | None = None,
) -> bool:
    """Encode an index's videos with another hasher. Queries are answered by the old codes and the old hasher
    until all is done, then by the new.

    The videos are those of the feature file that the index was made from, as it is now, without those that
    were removed from the index, and those that were added to it one by one. Videos without stored features
    that fit are decoded again; those of a bucket are fetched for it and not kept.

    Args:
        params: params.yaml.
        say: takes a line.
        progress: makes a progress for something that is counted.
        hasher: as `find_hasher` has it; None for `index.hasher`, which is the champion if nobody has changed
            that.
        place: of the index, as `open_index` has it; None for that of params.yaml.

    Returns:
        True if the index was switched, False if there is none or it has codes of this hasher already.

    Raises:
        UserError: the hasher or the feature file is not there, or they do not fit, or a video can't be
            fetched just now. The index stays as it was.
    """
    index = open_index(place or index_place(params))
    if not index.exists():
        return False
    source = find_hasher(hasher or params.index.hasher, model=params.register_.model)
    with index.alone(say):
        snapshot = index.snapshot(loaded=True)
        if snapshot.hasher.sha256 == source.sha256:
            return False
        removed = snapshot.removed_ids()
        videos = _Encoding(index, snapshot, source, params, say, progress).run(removed)
        index.replace(
            videos, source.folder, index.settings(), seed=params.seed, removed=removed, card=source.card
        )
    say(f"{index.name}: {videos.videos} videos now have codes by {source.name}")
    return True


class _Encoding:
    """Encodes the videos of a snapshot, each from where its features are."""

    def __init__(
        self,
        index: Index,
        snapshot: IndexSnapshot,
        hasher: HasherSource,
        params: Params,
        say: Callable[[str], None],
        progress: Progresses,
    ) -> None:
        self._index, self._snapshot, self._hasher = index, snapshot, hasher
        self._params, self._say, self._progress = params, say, progress
        self._known, self._project = snapshot.whole(), project_of(index.name)
        self._row = {video: row for row, video in enumerate(self._known.ids)}

    def run(self, removed: set[str]) -> CodedVideos:
        parts = []
        left = set(self._known.ids)
        # The newest first: a video that was removed and added again counts as it was added last.
        for path in reversed(self._index.kept_features()):
            if is_film_file(path):
                film = FilmFile(path)
                if film.facts.id in left and self._fits(film.facts.meta, film.facts.frames, film.size):
                    parts.append(self._described(self._encode_film(film)))
                    left.remove(film.facts.id)
                continue
            file = FeatureFile(path)
            rows = np.array([row for row, video in enumerate(file.ids) if video in left], dtype=np.int64)
            if len(rows) and self._fits(file.meta, *file.shape[1:]):
                part = self._encode(file, rows)
                parts.append(self._described(part))
                left -= set(part.ids)
        if self._snapshot.source:
            file = FeatureFile(Path(file_of_path(self._snapshot.source, self._project)))
            done = {video for part in parts for video in part.ids}
            rows = np.array(
                [row for row, video in enumerate(file.ids) if video not in removed and video not in done],
                dtype=np.int64,
            )
            part = self._with_places(self._encode(file, rows))
            parts.insert(0, part)
            left -= set(part.ids)
        if left:
            parts += self._from_videos(sorted(left))
        if not parts:
            raise UserError(f"{self._index.name}: not one of its videos can be encoded again")
        return replace(parts[0].followed_by(*parts[1:]), source=self._snapshot.source)

    def _fits(self, meta: FeatureMeta, frames: int, size: int) -> bool:
        network, wanted = self._hasher.load()
        return meta == wanted and (frames, size) == (network.config.frames, network.config.feature_size)

    def _encode(self, file: FeatureFile, rows: np.ndarray) -> CodedVideos:
        return encode_features(
            file, self._hasher, self._params, rows=rows, progress=self._progress("videos encoded")
        )

    def _with_places(self, part: CodedVideos) -> CodedVideos:
        """With paths and lengths as the index has them, where the present folder's project is another and so
        nothing says them.
        """
        if any(part.paths):
            return part
        rows = [self._row.get(video) for video in part.ids]
        durations = np.array(
            [0.0 if row is None else self._known.durations[row] for row in rows], dtype=np.float32
        )
        places = ["" if row is None else self._known.paths[row] for row in rows]
        return replace(part, paths=places, durations=durations, spans=whole_spans(durations))

    def _encode_film(self, film: FilmFile) -> CodedVideos:
        said = self._progress(f"segments of {film.facts.id} encoded")
        return encode_film(film, self._hasher, self._params, progress=said)

    def _described(self, part: CodedVideos) -> CodedVideos:
        """With labels, paths and durations as the index has them."""
        rows = [self._row[video] for video in part.ids]
        durations = self._known.durations[rows]
        counts = Counter(part.ids)
        alone = np.array([counts[video] == 1 for video in part.ids])
        return replace(
            part,
            labels=[self._known.labels[row] for row in rows],
            paths=[self._known.paths[row] for row in rows],
            durations=durations,
            spans=np.where(alone[:, None], whole_spans(durations), part.spans),
        )

    def _from_videos(self, ids: list[str]) -> list[CodedVideos]:
        """Decode what has no features that fit, cut as it was, and fetch it if it is elsewhere; videos that
        are gone or can't be read are left out.

        Raises:
            StorageAway: a video can't be fetched just now.
        """
        from ssvh_model.corpus.folder import look_into
        from ssvh_model.video.places import place_of

        by_root: dict[str, list[Video]] = {}
        left_out: list[Video] = []
        for video in ids:
            if name := file_of_path(self._known.paths[self._row[video]], self._project):
                root = self._root_of(name)
                path = name.removeprefix(f"{root}/") if is_address(name) else str(Path(name).resolve())[1:]
                by_root.setdefault(root, []).append(Video(video, path))
            else:
                left_out.append(Video(video, "").left_out("no path is known"))
        parts = []
        for root, videos in by_root.items():
            workers = pick_workers(self._params.running.workers)
            seen = look_into(place_of(root), videos, workers, self._progress("videos looked at"))
            alike: dict[Segments | None, list[Video]] = {}
            for found in seen:
                alike.setdefault(self._segments(found.id), []).append(found)
            for segments, some in alike.items():
                try:
                    parts.append(self._decoded(some, segments, root, left_out))
                except NothingReadable as error:
                    left_out += error.videos
        self._say_left_out(left_out)
        return parts

    def _decoded(
        self, videos: list[Video], segments: Segments | None, root: str, left_out: list[Video]
    ) -> CodedVideos:
        """Videos below the same root that are cut alike; those that can't be read are added to `left_out`."""
        encoded = encode_videos(
            videos, self._hasher, self._params, segments=segments, progress=self._progress, root=root
        )
        left_out += encoded.left_out
        self._index.keep(features_to_keep(encoded, {video.id: video for video in videos}))
        remove_work(encoded.work)
        return self._described(encoded.coded)

    def _root_of(self, name: str) -> str:
        """What the path of a video is taken to be relative to: of an address the corpus's, or the folder of
        the file.
        """
        if not is_address(name):
            return "/"
        corpus = self._params.corpus.path.rstrip("/")
        return corpus if name.startswith(f"{corpus}/") else name.rpartition("/")[0]

    def _say_left_out(self, videos: list[Video]) -> None:
        if not videos:
            return
        named = listed([f"{video.id} ({video.reason})" for video in videos], MOST_NAMED)
        what = "1 video" if len(videos) == 1 else f"{len(videos)} videos"
        self._say(f"left out of the index, {what} without stored features: {named}")

    def _segments(self, video: str) -> Segments | None:
        """How a video of the index is cut. Into shots: by the threshold that is set now, if one is."""
        if (films := self._snapshot.films) is None:
            return None
        rows = films.of(films.first_rows[self._row[video]])
        if len(rows) == 1:
            return None
        if (even := EvenSegments.of_spans(self._known.spans[rows])) is not None:
            return even
        chosen = segments_of(self._params)
        return chosen if isinstance(chosen, Shots) else Shots()
