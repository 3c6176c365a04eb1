"""From videos to a feature file: decoding, backbone and thumbnails, overlapped, and resumable."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ssvh_model.errors import UserError
from ssvh_model.files import is_temporary, remove_temporaries
from ssvh_model.locks import hold_lock, try_lock
from ssvh_model.manifest import NothingReadable, Video
from ssvh_model.progress import Progress, part_of
from ssvh_model.video.backbones import Backbone
from ssvh_model.video.earlier import EarlierFeatures
from ssvh_model.video.shard_extraction import ShardExtraction, decode_for, pools, prepared_for
from ssvh_model.video.shards import (
    SHARDS,
    is_finished,
    join_shards,
    read_outcomes,
    shard_key,
    shards_of,
    write_shard,
)

__all__ = ["Extraction", "decode_for", "extract_features", "prepared_for"]


def extract_features(
    videos: Sequence[Video],
    root: Path,
    backbone: Backbone,
    *,
    frames: int,
    batch_size: int,
    thumbnail: int,
    folder: Path,
    workers: int,
    progress: Progress,
    earlier: Sequence[Path] = (),
) -> list[Video]:
    """Write `features.h5`, `thumbnails.h5` and the folder `shards`, which they join, in `folder`, for every usable video that can be read.

    Interrupted at any time, even by a kill, it goes on in the same `folder` where it stopped, and the result is the same byte
    for byte. Other processes may make shards in the same `folder` at the same time (`Extraction`); none is made twice.

    The same videos and settings give the same bytes on one machine, whatever `workers` and the number of torch's threads, where nothing
    is taken from `earlier`.

    Args:
        videos: rows of a manifest; those left out are passed through. Their order is the order of the rows.
        root: the folder that the videos' paths are relative to.
        backbone: the image network.
        frames: M, frames a video, evenly in time.
        batch_size: frames that go through the backbone together; batches cross the borders of videos.
        thumbnail: longer side of a thumbnail, pixels; never above that of the decoded frame, see `working_side`.
        folder: where the files go.
        workers: threads that decode.
        progress: counts videos.
        earlier: folders of earlier extractions; videos that they have features of are not decoded, see `EarlierFeatures`.

    Returns:
        All of `videos`: usable ones with their number of frames and remarks, or left out with the reason.

    Raises:
        UserError: an argument is impossible, not one video can be read, or the backbone's values are beyond float16.
    """
    extraction = Extraction(
        videos, root, backbone, frames=frames, batch_size=batch_size, thumbnail=thumbnail, folder=folder
    )
    extraction.make(workers=workers, progress=progress, earlier=earlier, wait=True)
    return extraction.join()


class Extraction:
    """What is to be extracted, and how it is cut into shards. Processes with the same arguments work at the same extraction.

    Args, and what raises: see `extract_features`.
    """

    def __init__(
        self,
        videos: Sequence[Video],
        root: Path,
        backbone: Backbone,
        *,
        frames: int,
        batch_size: int,
        thumbnail: int,
        folder: Path,
    ) -> None:
        for name, value in {"frames": frames, "batch_size": batch_size, "thumbnail": thumbnail}.items():
            _check_positive("features", name, value)
        self._videos, self._root, self._backbone, self._folder = videos, root, backbone, folder
        self._frames, self._batch_size, self._thumbnail = frames, batch_size, thumbnail
        self._shards = shards_of(videos)
        self._total = sum(len(shard) for shard in self._shards)
        if not self._total:
            raise UserError(
                f"{root}: not one usable video in the manifest, so there is nothing to extract features from"
            )
        self._meta = backbone.meta
        settings = {
            **vars(self._meta),
            "frames": frames,
            "batch_size": batch_size,
            "thumbnail": thumbnail,
        }
        self._keys = [shard_key(shard, settings) for shard in self._shards]
        self._paths = [folder / SHARDS / f"{number:06d}.h5" for number in range(len(self._shards))]

    def __len__(self) -> int:
        """Number of shards."""
        return len(self._shards)

    @property
    def finished(self) -> int:
        """Number of shards that are made."""
        return sum(map(is_finished, self._paths, self._keys))

    def make(
        self, *, workers: int, progress: Progress, earlier: Sequence[Path] = (), wait: bool
    ) -> list[int]:
        """Make every shard that is not there and that no other process is making.

        Args:
            workers: threads that decode.
            progress: counts the videos of the shards that are there.
            earlier: see `extract_features`.
            wait: for the shards that others are making, too, and make them if they come to nothing.

        Returns:
            Numbers of the shards that were made here.
        """
        _check_positive("running", "workers", workers)
        known = EarlierFeatures(earlier, meta=self._meta, frames=self._frames)
        made, others = [], []
        self._remove_leftovers()
        with pools(workers, self._backbone) as (decoders, networks):
            extraction = ShardExtraction(
                self._root,
                self._backbone,
                self._frames,
                self._batch_size,
                self._thumbnail,
                decoders,
                networks,
                known,
            )
            done = 0
            for number, shard in enumerate(self._shards):
                result = self._make_one(
                    number, extraction, part_of(progress, before=done, total=self._total), False
                )
                if result is None:
                    others.append(number)
                    continue
                if result:
                    made.append(number)
                done += len(shard)
                progress(done, self._total)
            for number in others if wait else ():
                if self._make_one(
                    number, extraction, part_of(progress, before=done, total=self._total), True
                ):
                    made.append(number)
                done += len(self._shards[number])
                progress(done, self._total)
        self._remove_leftovers()
        return made

    def _remove_leftovers(self) -> None:
        """Remove what killed processes left beside the shards, those that they had just made, too."""
        for leftover in filter(is_temporary, self._paths[0].parent.glob("*")):
            shard = leftover.name.split(".")[1]
            with try_lock(self._folder / "locks" / shard) as mine:
                if mine is not False:
                    remove_temporaries(leftover.parent, f"{shard}.h5")

    def _make_one(
        self, number: int, extraction: ShardExtraction, progress: Progress, wait: bool
    ) -> bool | None:
        """True if the shard was made here, False if it was there, None if another process is making it."""
        path, key = self._paths[number], self._keys[number]
        if is_finished(path, key):
            return False
        lock = self._folder / "locks" / path.stem
        with hold_lock(lock) if wait else try_lock(lock) as mine:
            if mine is False:
                return None
            if is_finished(path, key):
                return False
            write_shard(path, key, extraction.run(self._shards[number], progress))
            return True

    def outcomes(self) -> list[Video]:
        """All videos as they are after decoding, when every shard is made; perhaps not one of them can be read."""
        outcomes: dict[str, Video] = {}
        for path, shard in zip(self._paths, self._shards, strict=True):
            outcomes.update((video.id, video) for video in read_outcomes(path, shard))
        return [outcomes.get(video.id, video) for video in self._videos]

    def join(self) -> list[Video]:
        """Write the files that join the shards, which are all made; returns what `extract_features` does.

        Raises:
            UserError: as `extract_features`, or another process has made a shard with other settings since.
        """
        for path, key in zip(self._paths, self._keys, strict=True):
            if not is_finished(path, key):
                raise UserError(
                    f"{path}: not made with {self._meta}; processes that share an extraction need the same "
                    "features.engine and features.precision, not 'auto' on unlike machines"
                )
        result = self.outcomes()
        readable = [video for video in result if video.usable]
        if not readable:
            tried = {video.id for shard in self._shards for video in shard}
            first = next(video for video in result if video.id in tried)
            raise NothingReadable(
                f"{self._root}: not one of {self._total} videos can be read; the first is {first.path}: {first.reason}",
                result,
            )
        shape = (self._frames, self._backbone.feature_size)
        with hold_lock(self._folder / "locks" / "join"):
            for name in ("features.h5", "thumbnails.h5"):
                remove_temporaries(self._folder, name)
            join_shards(self._paths, readable, meta=self._meta, shape=shape, folder=self._folder)
        return result


def _check_positive(section: str, name: str, value: int) -> None:
    if value < 1:
        raise UserError(f"{section}.{name}: {value}; allowed are whole numbers from 1")
