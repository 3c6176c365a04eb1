"""From videos to a feature file: decoding, backbone and thumbnails, overlapped, and resumable."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Protocol

from ssvh_model.errors import UserError
from ssvh_model.features import FeatureMeta
from ssvh_model.files import is_temporary, remove_temporaries
from ssvh_model.locks import hold_lock, try_lock
from ssvh_model.manifest import NothingReadable, Video
from ssvh_model.progress import Progress
from ssvh_model.video.backbones import Backbone
from ssvh_model.video.earlier import EarlierFeatures
from ssvh_model.video.places import place_of
from ssvh_model.video.shard_extraction import ExtractionSettings, ThreadExtractor, decode_for, prepared_for
from ssvh_model.video.shards import (
    SHARDS,
    Extracted,
    ShardProgress,
    is_finished,
    join_shards,
    read_outcomes,
    shard_key,
    shards_of,
    write_shard,
)

__all__ = ["Extraction", "Extractor", "decode_for", "extract_features", "prepared_for"]


class Extractor(Protocol):
    """What decodes videos and runs the backbone on their frames: threads of this process (`ThreadExtractor`),
    or other machines.
    """

    def extract(
        self, shards: Iterable[tuple[int, Sequence[Video]]], progress: ShardProgress
    ) -> Generator[tuple[int, list[Extracted | str]]]:
        """Extract shards, in any order.

        Args:
            shards: number and videos of each. The next one is taken when there is room for it: it is locked
                from then on.
            progress: counts the videos of each shard.

        Yields:
            The number of a shard and, in the order of its videos, what was extracted or the reason why
            nothing was.
        """
        ...


class NetworkFacts(Protocol):
    """What files of features say of the network that made them: a `Backbone`, or what is known of one on
    another machine.
    """

    @property
    def meta(self) -> FeatureMeta:
        """How features are made."""
        ...

    @property
    def feature_size(self) -> int:
        """D."""
        ...


def extract_features(
    videos: Sequence[Video],
    root: Path | str,
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
    """Write `features.h5`, `thumbnails.h5` and the folder `shards`, which they join, in `folder`, for every
    usable video that can be read.

    Interrupted at any time, even by a kill, it goes on in the same `folder` where it stopped, and the result
    is the same byte for byte. Other processes may make shards in the same `folder` at the same time
    (`Extraction`); none is made twice.

    The same videos and settings give the same bytes on one machine, whatever `workers` and the number of
    torch's threads, where nothing is taken from `earlier`.

    Args:
        videos: rows of a manifest; those left out are passed through. Their order is the order of the rows.
        root: the folder, or its address, that the videos' paths are relative to; videos of an address are
            fetched as they are decoded, and not kept.
        backbone: the image network.
        frames: M, frames a video, evenly in time.
        batch_size: frames that go through the backbone together; batches cross the borders of videos.
        thumbnail: longer side of a thumbnail, pixels; never above that of the decoded frame, see
            `working_side`.
        folder: where the files go.
        workers: threads that decode.
        progress: counts videos.
        earlier: folders of earlier extractions; videos that they have features of are not decoded, see
            `EarlierFeatures`.

    Returns:
        All of `videos`: usable ones with their number of frames and remarks, or left out with the reason.

    Raises:
        UserError: an argument is impossible, not one video can be read, or the backbone's values are beyond
            float16.
        StorageAway: a video can't be fetched.
    """
    settings = ExtractionSettings(frames, batch_size, thumbnail)
    extraction = Extraction(videos, root, backbone, settings, folder=folder)
    threads = ThreadExtractor(place_of(str(root)), backbone, settings, workers)
    extraction.make(threads, progress=progress, earlier=earlier, wait=True)
    return extraction.join()


class Extraction:
    """What is to be extracted, and how it is cut into shards. Processes with the same arguments work at the
    same extraction.

    Args:
        videos, folder: see `extract_features`.
        root: what messages call the folder of the videos.
        network: what is known of the backbone.
        settings: what else features follow from.

    Raises:
        UserError: not one video is usable.
    """

    def __init__(
        self,
        videos: Sequence[Video],
        root: Path | str,
        network: NetworkFacts,
        settings: ExtractionSettings,
        *,
        folder: Path,
    ) -> None:
        self._videos, self._root, self._folder, self._settings = videos, root, folder, settings
        self._shards = shards_of(videos)
        self._total = sum(len(shard) for shard in self._shards)
        if not self._total:
            raise UserError(
                f"{root}: not one usable video in the manifest, so there is nothing to extract features from"
            )
        self._meta, self._feature_size = network.meta, network.feature_size
        inputs = {**vars(self._meta), **vars(settings)}
        self._keys = [shard_key(shard, inputs) for shard in self._shards]
        self._paths = [folder / SHARDS / f"{number:06d}.h5" for number in range(len(self._shards))]

    def __len__(self) -> int:
        """Number of shards."""
        return len(self._shards)

    @property
    def finished(self) -> int:
        """Number of shards that are made."""
        return sum(map(is_finished, self._paths, self._keys))

    def make(
        self, extractor: Extractor, *, progress: Progress, earlier: Sequence[Path] = (), wait: bool
    ) -> list[int]:
        """Make every shard that is not there and that no other process is making.

        Args:
            extractor: does the work.
            progress: counts the videos of the shards that are there.
            earlier: see `extract_features`.
            wait: for the shards that others are making, too, and make them if they come to nothing.

        Returns:
            Numbers of the shards that were made here.
        """
        known = EarlierFeatures(earlier, meta=self._meta, frames=self._settings.frames)
        self._remove_leftovers()
        making = _Making(self, known, _Counted(progress, self._total))
        making.make(range(len(self)), extractor, wait=False)
        if wait:
            making.make(making.others, extractor, wait=True)
        self._remove_leftovers()
        return making.made

    def _remove_leftovers(self) -> None:
        """Remove what killed processes left beside the shards, those that they had just made, too."""
        for leftover in filter(is_temporary, self._paths[0].parent.glob("*")):
            shard = leftover.name.split(".")[1]
            with try_lock(self._folder / "locks" / shard) as mine:
                if mine is not False:
                    remove_temporaries(leftover.parent, f"{shard}.h5")

    def outcomes(self) -> list[Video]:
        """All videos as they are after decoding, when every shard is made; perhaps not one of them can be
        read.
        """
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
        shape = (self._settings.frames, self._feature_size)
        with hold_lock(self._folder / "locks" / "join"):
            for name in ("features.h5", "thumbnails.h5"):
                remove_temporaries(self._folder, name)
            join_shards(self._paths, readable, meta=self._meta, shape=shape, folder=self._folder)
        return result


class _Making:
    """The shards that one process makes, each locked from when it is begun until it is there.

    Attributes:
        made: numbers of the shards that were made here.
        others: of those that other processes were making.
    """

    def __init__(self, extraction: Extraction, known: EarlierFeatures, counted: _Counted) -> None:
        self.made: list[int] = []
        self.others: list[int] = []
        self._extraction, self._known, self._counted = extraction, known, counted
        self._locks: dict[int, ExitStack] = {}
        # What is known of earlier, of each video of the shards that are under way.
        self._found: dict[int, list[Extracted | None]] = {}

    def make(self, numbers: Sequence[int], extractor: Extractor, *, wait: bool) -> None:
        """Make those that are not there; with `wait`, wait for those that others are making."""
        try:
            with closing(extractor.extract(self._begun(numbers, wait), self._tell)) as results:
                for number, extracted in results:
                    self._finish(number, extracted)
        finally:
            for lock in self._locks.values():
                lock.close()

    def _begun(self, numbers: Sequence[int], wait: bool) -> Iterator[tuple[int, list[Video]]]:
        """Shards with videos to extract, locked."""
        for number in numbers:
            if not self._lock(number, wait):
                continue
            shard = self._extraction._shards[number]
            found = self._found[number] = [self._known.find(video.sha256) for video in shard]
            new = [video for video, earlier in zip(shard, found, strict=True) if earlier is None]
            if new:
                yield number, new
            else:
                self._finish(number, [])

    def _lock(self, number: int, wait: bool) -> bool:
        """True if the shard is to be made here, and locked; False if it is there, or another process is
        making it.
        """
        path, key = self._extraction._paths[number], self._extraction._keys[number]
        with ExitStack() as locked:
            if not is_finished(path, key):
                file = self._extraction._folder / "locks" / path.stem
                if locked.enter_context(hold_lock(file) if wait else try_lock(file)) is False:
                    self.others.append(number)
                    return False
                if not is_finished(path, key):
                    self._locks[number] = locked.pop_all()
                    return True
        self._counted(number, len(self._extraction._shards[number]))
        return False

    def _tell(self, number: int, done: int) -> None:
        self._counted(number, done + sum(earlier is not None for earlier in self._found[number]))

    def _finish(self, number: int, extracted: Sequence[Extracted | str]) -> None:
        made = iter(extracted)
        results = [next(made) if earlier is None else earlier for earlier in self._found.pop(number)]
        write_shard(self._extraction._paths[number], self._extraction._keys[number], results)
        self._locks.pop(number).close()
        self.made.append(number)
        self._counted(number, len(results))


class _Counted:
    """Tells a progress how many videos of all shards are done."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._sum = progress, total, 0
        self._done: dict[int, int] = {}

    def __call__(self, number: int, done: int) -> None:
        self._sum += done - self._done.get(number, 0)
        self._done[number] = done
        self._progress(self._sum, self._total)
